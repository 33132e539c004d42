"""Results in, what people see out: sentences, tables, pictures, the page. Begin with `tables.py`."""
