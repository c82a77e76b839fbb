//! The command line: parses, asks, prints. Commands that change something go through the same log as the service.

pub mod args;
mod corps;
mod incidents;
mod keys;
mod limit_list;
mod limits;
mod logging;
mod members;
mod output;
mod reconcile;
mod secret;
mod table;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::config::{self, Config, SAMPLE, Settings};
use crate::datadir::{self, NewApiKey, Opened};
use crate::ledger::{Command as LedgerCommand, Seq};

pub use args::Cli;
use args::{App, Command, Corp, Declare, Incidents, Key, Limits, Members, Penalty, Usage};
pub use output::{Answer, Failure};

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The program: parses the command line, runs the command, says what went wrong. It is a part of the library because
/// the compiler generates a future's code where it is first polled: here, and not a second time beside `main`.
pub fn main() -> ExitCode {
    // What this program writes is for its owner alone, whatever directory it is told to use.
    // SAFETY: only sets a number of the process; no other thread is there yet.
    unsafe { libc::umask(0o077) };
    // A write beyond the limit of a file's size (`ulimit -f`) is an error like a full disk, and no reason to die.
    // SAFETY: only says how a signal is treated; no other thread is there yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::Failed(error.into())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs one command to its end.
async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { data_dir, json, command } = cli;
    // Whoever mistook a setting's name must be able to look it up.
    if !matches!(command, Command::Config) || json {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        config::check_variables(names)?;
    }
    let dir = config::data_dir(data_dir, &env);
    let answer = match command {
        Command::Serve(serve) => {
            let config = Config::load(dir, serve.settings(), &env)?;
            logging::start(&config.log);
            return Ok(crate::app::serve(config).await?);
        }
        Command::Demo(demo) => {
            // The demo tells its own story, and the log would tell half of it again.
            logging::start(&logging::without_file("error", &env)?);
            return Ok(crate::app::demo(demo.options()).await?);
        }
        Command::Sandbox(sandbox) => {
            let options = sandbox.options()?;
            logging::start(&logging::without_file("info", &env)?);
            return Ok(crate::app::sandbox(options).await?);
        }
        Command::Members(Members::Learn { app }) => {
            let config = Config::load(dir, Settings::default(), &env)?;
            logging::start(&logging::without_file("warn", &env)?);
            members::learn(config, &app).await?
        }
        Command::Usage(Usage { declare: Some(Declare::Reconcile(wanted)), .. }) => {
            let config = Config::load(dir, Settings::default(), &env)?;
            logging::start(&logging::without_file("warn", &env)?);
            reconcile::ask(config, wanted).await?
        }
        Command::Config if json => config_in_force(&dir)?,
        Command::Config => Answer { text: SAMPLE.to_owned(), ..Answer::default() },
        other => {
            logging::start(&logging::without_file("warn", &env)?);
            administer(&dir, other).await?
        }
    };
    answer.print(json)
}

fn config_in_force(dir: &Path) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct InForce {
        data_dir: PathBuf,
        #[serde(flatten)]
        settings: Settings,
    }
    let settings = Settings::load(dir, Settings::default(), &env)?;
    Config::load(dir.to_owned(), Settings::default(), &env)?;
    Answer::new(&InForce { data_dir: dir.to_owned(), settings }, "")
}

/// Commands that open the data directory, do one thing, and close it.
async fn administer(dir: &Path, command: Command) -> Result<Answer, Failure> {
    if matches!(command, Command::Init) {
        let key = datadir::init(dir).await?;
        let shown = dir.display();
        let hint = format!(
            "{shown} is initialised. This is the key of the administrator; it is shown only now, so keep it safe.\n\
             Keep a copy of {shown}/master.key elsewhere: without it no secret can be opened again."
        );
        return Ok(new_key(&key)?.hint(hint));
    }
    // What can be wrong before the ledger is opened is found before.
    if let Command::Limits(Limits::Check { file }) = &command {
        return limits::check(file);
    }
    let prepared = secret::read_for(&command)?;
    let opened = datadir::open(dir, None).await?;
    let answer = match command {
        Command::Corp(Corp::Add { corp_id, accounts }) => corps::add(&opened, corp_id, accounts).await,
        Command::Corp(Corp::List) => corps::list(&opened),
        Command::Corp(Corp::Remove { corp_id }) => corps::remove(&opened, corp_id).await,
        Command::App(App::Add { app, .. }) => corps::add_app(&opened, app, prepared).await,
        Command::App(App::List) => corps::list_apps(&opened),
        Command::App(App::Reset { app }) => corps::reset_app(&opened, app).await,
        Command::App(App::Remove { app }) => corps::remove_app(&opened, app).await,
        Command::Key(Key::Create(key)) => keys::create(&opened, key).await,
        Command::Key(Key::List) => keys::list(&opened).await,
        Command::Key(change) => keys::change(&opened, change).await,
        Command::Usage(Usage { declare: Some(Declare::Forecast(filters)), .. }) => {
            limits::forecast(&opened, filters.query()).await
        }
        Command::Limits(Limits::List) => limit_list::list(&opened).await,
        Command::Limits(Limits::Restore { seq, .. }) => limits::restore(&opened, seq).await,
        Command::Limits(change) => limits::change(&opened, change).await,
        Command::Usage(Usage { declare: Some(Declare::Declare(declared)), .. }) => {
            limits::declare(&opened, declared).await
        }
        Command::Usage(Usage { declare: Some(Declare::Reconciled(listed)), .. }) => {
            reconcile::list(&opened, listed).await
        }
        Command::Members(Members::Declare { whose, size }) => members::declare(&opened, whose, &size).await,
        Command::Members(Members::List { corp, app }) => members::list(&opened, corp, app).await,
        Command::Usage(usage) => limits::usage(&opened, usage.filters.query()).await,
        Command::Penalty(Penalty::List) => incidents::penalties(&opened).await,
        Command::Penalty(Penalty::Clear { seq, .. }) => incidents::clear(&opened, seq).await,
        Command::Incidents(Incidents { seq: Some(seq), .. }) => incidents::one(&opened, seq).await,
        Command::Incidents(Incidents { before, limit, .. }) => {
            incidents::list(&opened, before, limit as usize).await
        }
        _ => Err(Failure::Usage("this command does not administer anything".to_owned())),
    };
    opened.ledger.stop().await;
    answer
}

/// The one moment at which an API key is shown.
fn new_key(key: &NewApiKey) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        id: Seq,
        api_key: &'a str,
    }
    let api_key = key.api_key.expose_secret();
    let id = key.id;
    let answer = Answer::new(&Shown { id, api_key }, format!("id       {id}\napi_key  {api_key}"))?;
    Ok(Answer { if_lost: format!("could not print the key; revoke it: key revoke {id}"), ..answer })
}

/// What an act has changed.
#[derive(Serialize)]
struct Act {
    seq: Option<Seq>,
    changed: bool,
}

/// Does one administrative act and says so: `what` in words if it changed something, else that it was so before.
async fn act(opened: &Opened, command: LedgerCommand, what: String) -> Result<Answer, Failure> {
    let (seq, changed) = datadir::done(opened.ledger.decide(command).await?)?;
    let seq = (seq > 0).then_some(seq);
    let text = if changed { what } else { "nothing to change: it is so already".to_owned() };
    Answer::new(&Act { seq, changed }, text)
}
