"""What arms are asked: probes of claims and twins, benchmarks, items, free text. Begin with `probes.py`."""
