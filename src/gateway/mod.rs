//! The gateway: `/cgi-bin/…`, as SDKs know it.
