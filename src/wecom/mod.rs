//! What is known of WeCom: its APIs, its error codes, and a client for it.
//!
//! Everything but [`client`] and [`issue`] is pure: no I/O, no clock.

/// The table of known APIs, and which of them may be repeated safely.
pub mod catalogue;
/// The name of an API, taken from a request path that has exactly one spelling.
pub mod path;

/// WeCom's return codes and what to do about each.
pub mod errcodes;
/// Answers of our own in the shape that WeCom's SDKs understand.
pub mod reply;
pub mod tls;

/// Reads `errcode` out of an answer, whole or cut off.
pub mod answer;
/// Bounds and redacts `errmsg`, and finds the two facts hidden in it.
pub mod errmsg;

/// What a request takes from the budgets, and what its answer shows and teaches.
pub mod cost;

/// Which headers may cross the gateway.
pub mod headers;
/// Query strings: credentials out, one credential in, the rest untouched.
pub mod query;

/// Sends one request to WeCom and says honestly what became of it.
pub mod client;
/// Fetches credentials.
pub mod issue;
