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
    if code := protoc.main(["protoc", f"-I{ROOT}", *arguments]):
        sys.exit(code)


def main() -> None:
    """Write stubs below --out and the image for buf to --image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the packages")
    parser.add_argument("--image", type=Path, required=True, help="descriptor image for buf")
    options = parser.parse_args()

    for package in ("imsgateway", "buf"):
        shutil.rmtree(options.out / package, ignore_errors=True)
    options.image.parent.mkdir(parents=True, exist_ok=True)
    imports = options.image.with_name("imports.binpb")
    write_imports(imports)
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.proto"))
    known = f"--descriptor_set_in={imports}"
    run_protoc(
        known,
        f"--python_out={options.out}",
        f"--pyi_out={options.out}",
        *protos,
        VALIDATE,
    )
    run_protoc(
        known,
        f"--grpc_python_out={options.out}",
        f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).with_name('protoc-gen-mypy_grpc')}",
        f"--mypy_grpc_out=quiet:{options.out}",
        *protos,
    )
    run_protoc(
        known,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={options.image}",
        *protos,
    )
    for folder in (options.out / "imsgateway", options.out / PACKAGE):
        (folder / "__init__.py").touch()
        (folder / "py.typed").touch()


if __name__ == "__main__":
    main()
