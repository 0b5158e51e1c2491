"""Official file formats, one module each: a folder in, documents or queries with exact character offsets out."""
