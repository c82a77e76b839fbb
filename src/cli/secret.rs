//! Reads an app's secret from where it does not show: never from the command line itself.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::Failure;
use super::args::{App, Command};

/// WeCom's secrets have 43 characters.
const SECRET_MAX: u64 = 512;

/// The secret that a command needs, if it needs one.
pub(super) fn read_for(command: &Command) -> Result<Option<SecretString>, Failure> {
    match command {
        Command::App(App::Add { secret_file, .. }) => read(secret_file).map(Some),
        _ => Ok(None),
    }
}

fn read(path: &Path) -> Result<SecretString, Failure> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            let _ =
                writeln!(std::io::stderr(), "type the secret, then Enter and Ctrl-D (it will be visible):");
        }
        return take(stdin.lock(), "standard input");
    }
    let what = || format!("the secret file {shown} can't be read");
    let file = File::open(path).with_context(what)?;
    let mode = file.metadata().with_context(what)?.permissions().mode();
    if mode & 0o004 != 0 {
        let _ = writeln!(std::io::stderr(), "warning: everybody can read {shown}; run: chmod 600 {shown}");
    }
    take(file, &shown)
}

fn take(source: impl std::io::Read, shown: &str) -> Result<SecretString, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_MAX as usize + 1));
    source
        .take(SECRET_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("{shown} can't be read as text"))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    let sound = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
    if !sound || text.len() as u64 > SECRET_MAX {
        return Err(Failure::Usage(format!(
            "{shown} must hold the app's secret and nothing else: 1 to {SECRET_MAX} letters, digits and signs in one line"
        )));
    }
    Ok(SecretString::from(secret))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_newline_at_the_end_of_a_secret_is_cut_off() {
        for text in ["abc", "abc\n", "abc\r\n"] {
            assert_eq!(take(text.as_bytes(), "file").unwrap().expose_secret(), "abc");
        }
    }

    #[test]
    fn what_can_not_be_a_secret_is_a_usage_error() {
        for text in ["", "\n", "a b", "a\nb", "秘密", &"x".repeat(513)] {
            let failure = take(text.as_bytes(), "file").unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{text}");
        }
    }
}
