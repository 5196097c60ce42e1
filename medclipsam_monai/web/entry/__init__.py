"""What stands before the page: who may ask under which name, by which password, and how much may be sent."""
