"""One small program for each runtime, in the configuration that its own documentation recommends for many objects.

All take the same options and speak the protocol of `bench.runtime.protocol`. `kube-rs/` and `controller-runtime/` hold
those in Rust and Go.
"""
