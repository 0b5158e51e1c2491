"""Tables of any format, and how a mapping makes a data set of one."""
