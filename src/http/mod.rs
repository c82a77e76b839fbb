//! REST, health and, later, the dashboard.
