"""The kernel's FUSE protocol in Python: a mount without libfuse, which may have what only the kernel has."""
