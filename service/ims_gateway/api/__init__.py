"""The gRPC surface: servicers, interceptors, conversion of errors."""
