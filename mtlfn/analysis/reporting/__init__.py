"""The report: sections, tables, pictures, pages."""
