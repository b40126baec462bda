//! `cargo xtask`: builds, boots and tests Kigumi on the host.
//!
//! [`cli`] holds the subcommands and their options, one module the work of each. Boots go through
//! [`machine`] (Bochs or QEMU with COM1 on a pseudo terminal); dialogues with them are written in the
//! language of [`script`] and spoken by [`session`].

#![forbid(unsafe_code)]

mod bench;
mod boot;
mod boot_test;
mod build;
mod check;
mod clean;
mod cli;
mod debian;
mod disk_image;
mod gdb;
mod guest_tests;
mod iso;
mod machine;
mod process;
mod report;
mod run;
mod scenario;
mod sched_scale;
mod sched_sim;
mod script;
mod session;
mod setup;
mod stages;
mod store;
mod ui;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use process::CtrlC;

fn main() -> ExitCode {
    let cli = Cli::parse();
    ui::choose_color(cli.color);
    let ctrl_c = if matches!(cli.command, Command::Gdb(_)) { CtrlC::IsForTheChild } else { CtrlC::EndsUs };
    match process::watch_signals(ctrl_c).and_then(|()| dispatch(&cli.command)) {
        Ok(code) => code,
        Err(error) if process::interrupted() => {
            ui::note(&format!("interrupted: {error}"));
            ExitCode::from(process::EXIT_INTERRUPTED)
        }
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Setup => setup::run().map(done),
        Command::Build(args) => build::run(args).map(done),
        Command::Image(args) => iso::run(args).map(done),
        Command::Store(args) => store::run(args).map(done),
        Command::Run(args) => run::run(args).map(done),
        Command::Test(args) => boot_test::run_all(args),
        Command::GuestTest(args) => boot_test::run_named(args),
        Command::Bench(args) => bench::run(args),
        Command::SchedSim(args) => sched_sim::run(args),
        Command::Check(args) => check::run(args),
        Command::Gdb(args) => gdb::run(args).map(done),
        Command::Clean => clean::run().map(done),
    }
}
