"""What `medclipsam archive` costs: networks, scans of headers, memory, simulated archives."""
