"""What starts and ends machines; no driver imports another, what several share lies beside them."""
