//! Whatever a file and a word of the command line hold: no panic, errors where there is no domain,
//! and a domain that is written as a file and read again is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xl_config::diagnostic::{Diagnostic, Severity};
use xl_config::domain::Affinity;
use xl_config::load;
use xl_config::write::write;

/// What separates the file from the word.
const SEPARATOR: u8 = 0xff;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |&byte| byte == SEPARATOR);
    let file = parts.next().unwrap_or_default();
    let words: Vec<_> = parts.next().map(String::from_utf8_lossy).into_iter().collect();
    match load("fuzz.cfg", file, &words) {
        Err(found) => assert!(show(&found), "an error without a reason"),
        Ok((config, found)) => {
            assert!(!show(&found), "a domain in spite of an error");
            if let Affinity::All(spec) = &config.cpus {
                let _pcpus = spec.resolve(4);
            }
            let (again, found) = load("again.cfg", write(&config), &[] as &[&str]).expect("a good file");
            show(&found);
            assert_eq!(again, config);
        }
    }
});

/// Shows all that was found; whether there is an error.
fn show(found: &[Diagnostic]) -> bool {
    found.iter().for_each(|it| assert!(!it.to_string().is_empty()));
    found.iter().any(|it| it.severity == Severity::Error)
}
