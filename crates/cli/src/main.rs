//! `faithful`: explain what a convolutional network looked at. The command line over the library crates.

#![cfg_attr(not(all(feature = "rul", feature = "serve", feature = "terminal")), allow(dead_code, unused_imports))]

mod arguments;
mod command;
mod convergence;
mod exhibit;
mod failure;
mod fetching;
mod files;
mod model;
mod output;
mod progress;
mod question;
mod recorded;
mod table;
mod visible;

use anyhow::Context;
use arguments::{Arguments, Command, ModelCommand};
use clap::Parser;
use failure::Outcome;
use output::Output;
use std::panic;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    report_panics_once();
    faithful_tensor::keep_freed_memory();
    let output = Output::new(arguments.output.json, arguments.output.quiet);
    match run(&arguments, &output) {
        Ok(outcome) => outcome.into(),
        Err(error) if failure::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&failure::text(&error));
            failure::exit_code(&error)
        }
    }
}

/// A decoder that panics at damaged data is reported as an error, and not as a panic too.
fn report_panics_once() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !faithful_core::panic_is_caught() {
            before(info);
        }
    }));
}

fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Outcome> {
    faithful_tensor::Isa::asked().map_err(failure::Usage::from)?;
    if let Some(threads) = arguments.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get());
        pool.build_global().context("cannot start the threads")?;
    }
    match &arguments.command {
        Command::Predict(arguments) => command::predict::run(arguments, output),
        Command::Explain(arguments) => command::explain::run(arguments, output),
        Command::Compare(arguments) => command::compare::run(arguments, output),
        Command::Atlas(arguments) => command::atlas::run(arguments, output),
        Command::Dream(arguments) => command::dream::run(arguments, output),
        Command::Model(ModelCommand::List) => command::model::list(output),
        Command::Model(ModelCommand::Pull(arguments)) => command::pull::run(arguments, output),
        Command::Model(ModelCommand::Convert(arguments)) => command::pull::convert(arguments, output),
        Command::Model(ModelCommand::Info(arguments)) => command::model::info(arguments, output),
        Command::Model(ModelCommand::Layers(arguments)) => command::model::layers(arguments, output),
        Command::Model(ModelCommand::Export(arguments)) => command::export::run(arguments, output),
        Command::Evaluate(arguments) => command::evaluate::run_evaluation(arguments, output),
        Command::Sanity(arguments) => command::sanity::run_checks(arguments, output),
        #[cfg(feature = "rul")]
        Command::Rul(command) => command::rul::run(command, output),
        Command::Table(arguments) => command::table::run(arguments, output),
        Command::Audit(arguments) => command::audit::run(arguments, output),
        Command::Figure(command) => command::figure::run(command, output),
        Command::Report(arguments) => command::report::run(arguments, output),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => command::serve::run(arguments, output),
        Command::Completions { shell } => command::manual::completions(*shell, output),
        Command::Man { out } => command::manual::man(out.as_deref(), output),
        Command::Metrics => command::lists::metrics(output),
        Command::Methods => command::lists::methods(output),
        Command::Gradients => command::lists::gradients(output),
        Command::Baselines => command::lists::baselines(output),
        Command::Colormaps => command::lists::colormaps(output),
    }
}
