"""What the package is made of: locks, known vulnerabilities, licences, a bill of materials; see scripts/supply.sh."""
