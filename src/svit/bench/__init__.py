"""What `svit bench` measures: speed and memory, beside plain references and beside the hardware's floor."""
