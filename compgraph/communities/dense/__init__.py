"""Block models of dense graphs by linear algebra: closed-form description length, moves by matrix products."""
