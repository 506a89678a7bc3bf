"""What commands print: results, tables, the live status; and what is typed into them."""
