"""Keys that can sign: each module is one kind of key behind the port `reporting.signing.Signer`."""
