"""The command line. Each command calls one public function; model code is imported when one runs."""
