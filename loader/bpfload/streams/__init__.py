"""What programs send: the trace pipe, ring buffers, perf buffers."""
