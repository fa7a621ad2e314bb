"""Everything that touches the outside: sockets, files, clocks, processes."""
