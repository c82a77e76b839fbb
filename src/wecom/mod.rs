//! What is known of WeCom: its APIs, its error codes, and a client for it.
