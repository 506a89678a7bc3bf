"""Commands about other machines: `mlink agent`, `mlink hosts`."""
