"""One clock for several machines: exchanges, the estimate, and the page that workers read."""
