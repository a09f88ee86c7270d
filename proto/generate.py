"""Generate the Python stubs and the descriptor image from the contract.

The annotations of protovalidate are not copied into the repository: their descriptor is read out of
the installed `protovalidate` package, those of google.api out of `googleapis-common-protos`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import google.api.field_behavior_pb2
import google.api.resource_pb2
import google.protobuf.duration_pb2
import google.protobuf.field_mask_pb2
import google.protobuf.struct_pb2
import google.protobuf.timestamp_pb2
import google.rpc.status_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("imsgateway/v1")
VALIDATE = "buf/validate/validate.proto"
IMPORTS = (
    google.api.field_behavior_pb2,
    google.api.resource_pb2,
    google.protobuf.duration_pb2,
    google.protobuf.field_mask_pb2,
    google.protobuf.struct_pb2,
    google.protobuf.timestamp_pb2,
    google.rpc.status_pb2,
)


def write_imports(path: Path) -> None:
    """Write the descriptors of everything the contract imports, dependencies first."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in files:
            files[file.name] = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(files[file.name])

    for module in IMPORTS:
        add(module.DESCRIPTOR)
    files[VALIDATE] = descriptor_pb2.FileDescriptorProto.FromString(
        validate_pb._DESC.proto.to_binary()  # noqa: SLF001 - the package offers no public way to it
    )
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString())


def run_protoc(*arguments: str) -> None:
    """Run the bundled protoc, or end the program with its exit code."""
    if code := protoc.main(["protoc", *arguments]):
        sys.exit(code)


def protos_below(root: Path) -> list[str]:
    """Return the contract's files, relative to the folder that holds them."""
    return sorted(str(path.relative_to(root)) for path in (root / PACKAGE).glob("*.proto"))


def write_image(root: Path, image: Path) -> None:
    """Write the descriptor image that buf reads: no schema registry is asked for the imports."""
    imports = image.with_name("imports.binpb")
    write_imports(imports)
    run_protoc(
        f"-I{root}",
        f"--descriptor_set_in={imports}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
        *protos_below(root),
    )


def write_stubs(root: Path, imports: Path, out: Path) -> None:
    """Write messages and services with their types, and the package's own files."""
    for package in ("imsgateway", "buf"):
        shutil.rmtree(out / package, ignore_errors=True)
    sources = (f"-I{root}", f"--descriptor_set_in={imports}")
    protos = protos_below(root)
    run_protoc(*sources, f"--python_out={out}", f"--pyi_out={out}", *protos, VALIDATE)
    plugin = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    services = [proto for proto in protos if proto.endswith("_service.proto")]
    run_protoc(
        *sources,
        f"--grpc_python_out={out}",
        f"--plugin=protoc-gen-mypy_grpc={plugin}",
        f"--mypy_grpc_out=quiet:{out}",
        *services,
    )
    for folder in (out / "imsgateway", out / PACKAGE):
        (folder / "__init__.py").touch()
        (folder / "py.typed").touch()


def main() -> None:
    """Write stubs below --out and the image for buf to --image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the packages")
    parser.add_argument("--image", type=Path, required=True, help="descriptor image for buf")
    options = parser.parse_args()
    options.image.parent.mkdir(parents=True, exist_ok=True)
    write_image(ROOT, options.image)
    write_stubs(ROOT, options.image.with_name("imports.binpb"), options.out)


if __name__ == "__main__":
    main()
