"""What annotators have labelled shows the next images what to look for."""
