//! REST, health and, later, the dashboard.
#[derive(Clone)]
pub struct HttpState;
impl HttpState {
    pub fn new(
        _: crate::ledger::LedgerHandle,
        _: crate::store::sqlite::Reader,
        _: std::sync::Arc<crate::vault::Vault>,
    ) -> Self {
        Self
    }
}
pub fn configure(_: &mut actix_web::web::ServiceConfig, _: HttpState) {}
