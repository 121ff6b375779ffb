"""What `bench_gpu.py` measures, and how; a file for the ceilings, one for the floors, one for each family of rows."""
