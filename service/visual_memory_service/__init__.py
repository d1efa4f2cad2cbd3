"""The gRPC service over a folder of memories, and the command line."""
