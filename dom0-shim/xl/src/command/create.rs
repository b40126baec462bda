//! Making domains from configuration files.

use xl_config::domain::{Affinity, DomainConfig};

use super::{console, life};
use crate::args::Args;
use crate::configs;
use crate::context::Context;
use crate::find::{find, pick};
use crate::format::config::{configured, json};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;
use crate::toolstack::{Domain, Toolstack};

use alloc::format;
use alloc::vec::Vec;

/// `create`.
pub(super) async fn create<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    args: &Args<'_>,
) -> Outcome {
    let (file, words) = file_and_words(args, &args.positionals)?;
    let quiet = args.has("q");
    if !quiet {
        cx.say(format_args!("Parsing config from {file}"));
    }
    let (config, warnings) = configs::load(cx.tools, file, &words)?;
    cx.show(&warnings);
    if args.has("n") || args.has("d") {
        cx.say(json(&configured(None, &config)));
    }
    if args.has("n") {
        return Ok(());
    }
    let domain = make(cx, config, args.has("p")).await?;
    if args.has("c") {
        console::attach_to(cx, &domain).await?;
    }
    if args.has("F") {
        life::wait(cx, &[domain.id]).await?;
    }
    Ok(())
}

/// `config-update`.
pub(super) fn update<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let domain = find(cx.tools, args.get(0))?;
    let (file, words) = file_and_words(args, args.positionals.get(1..).unwrap_or_default())?;
    let (config, warnings) = configs::load(cx.tools, file, &words)?;
    cx.show(&warnings);
    if args.has("d") {
        cx.say(json(&configured(Some(&domain), &config)));
    }
    cx.say(format_args!("setting dom{} configuration", domain.id));
    Ok(cx.tools.update_config(domain.id, config)?)
}

/// `virsh start`: a file, or the domain that one describes (VSH-11).
pub(super) async fn start<T: Toolstack, M: Terminal>(cx: &mut Context<'_, T, M>, args: &Args<'_>) -> Outcome {
    let word = args.get(0);
    let Some(file) = configs::file_of(cx.tools, word) else {
        return Err(Problem::Failed(format!("No file of the store is {word} or describes a domain {word}.")));
    };
    let (mut config, warnings) = configs::load(cx.tools, &file, &[])?;
    cx.show(&warnings);
    // What `vcpupin` was told while it did not run (T-25).
    if let Some(pcpus) = cx.tools.pins_of_stopped(&config.name) {
        config.cpus = Affinity::All(pcpus);
    }
    if cx.tools.domains()?.iter().any(|domain| domain.name == config.name) {
        return Err(Problem::Failed(format!("Domain {} is already active", config.name)));
    }
    let domain = make(cx, config, args.has("paused")).await?;
    cx.say(format_args!("Domain {} started", domain.name));
    if args.has("console") {
        console::attach_to(cx, &domain).await?;
    }
    Ok(())
}

async fn make<T: Toolstack, M: Terminal>(
    cx: &mut Context<'_, T, M>,
    config: DomainConfig,
    paused: bool,
) -> Outcome<Domain> {
    for advice in cx.tools.advice(&config) {
        cx.say(format_args!("warning: {}: {advice}", config.name));
    }
    let id = cx.tools.create(config, paused).await?;
    pick(cx.tools.domains()?, &format!("{id}"))
}

/// The file, by option or argument, and the words `name=value`.
fn file_and_words<'a>(args: &Args<'a>, positionals: &[&'a str]) -> Outcome<(&'a str, Vec<&'a str>)> {
    let (words, files): (Vec<&str>, Vec<&str>) = positionals.iter().partition(|word| word.contains('='));
    match (args.value("f"), files.as_slice()) {
        (Some(file), []) => Ok((file, words)),
        (None, [file]) => Ok((*file, words)),
        (None, []) => Err(Problem::usage("Config file not specified")),
        _ => Err(Problem::usage("More than one config file specified")),
    }
}
