"""Lets `python -m ims_gateway_client.cli` stand for imsctl."""

from ims_gateway_client.cli import main

main()
