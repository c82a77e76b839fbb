//! temp
use secrecy::ExposeSecret;
use std::path::PathBuf;
use wecom_ledger::*;
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let args: Vec<String> = std::env::args().collect();
        let dir = PathBuf::from(&args[2]);
        match args[1].as_str() {
            "init" => {
                let k = datadir::init(&dir).await?;
                println!("{} {}", k.id, k.api_key.expose_secret());
                let o = datadir::open(&dir, None).await?;
                let r = o
                    .ledger
                    .decide(ledger::Command::PutCorp {
                        corp_id: "ww0123456789abcdef".into(),
                        account_cap: 500,
                    })
                    .await?;
                println!("{r:?}");
                let s = secrecy::SecretString::from("sandbox-secret-1000001");
                let r = o
                    .ledger
                    .decide(ledger::Command::PutApp {
                        corp_id: "ww0123456789abcdef".into(),
                        agent_id: "1000001".into(),
                        fingerprint: o.vault.fingerprint("app_secret", s.expose_secret()),
                        secret: ledger::entry::Plain(std::sync::Arc::new(s)),
                    })
                    .await?;
                println!("{r:?}");
                let k = datadir::create_api_key(
                    &o.ledger,
                    &o.vault,
                    "demo",
                    vec![ledger::entry::Scope::Call],
                    vec!["ww0123456789abcdef/1000001".into()],
                    vec![],
                )
                .await?;
                println!("{} {}", k.id, k.api_key.expose_secret());
                o.ledger.stop().await;
            }
            "serve" => {
                let s = config::Settings::default();
                let mut f = s;
                f.upstream = Some("http://127.0.0.1:8701".into());
                f.reuse_port = Some(true);
                app::serve(config::Config::load(dir, f, &|_| None)?).await?
            }
            "sandbox" => {
                let l = std::net::TcpListener::bind("127.0.0.1:8701")?;
                let mut c =
                    if args[2] == "fast" { sandbox::Config::fast() } else { sandbox::Config::default() };
                c.workers = 2;
                sandbox::run(l, c, std::future::pending()).await?
            }
            _ => {}
        }
        Ok(())
    })
}
