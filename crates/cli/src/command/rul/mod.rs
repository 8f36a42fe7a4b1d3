//! `faithful rul`: the remaining useful life of machines from their sensors.

mod coverage;
mod curves;
mod draw;
mod evaluate;
mod explain;
mod explained;
mod method;
mod model;
mod page;
mod predict;
mod pull;
mod side;
mod source;
mod told;
mod train;

use crate::arguments::RulCommand;
use crate::failure::Outcome;
use crate::output::Output;
use anyhow::Result;

pub(crate) fn run(command: &RulCommand, output: &Output) -> Result<Outcome> {
    match command {
        RulCommand::Train(arguments) => train::run(arguments, output),
        RulCommand::Evaluate(arguments) => evaluate::run(arguments, output),
        RulCommand::Predict(arguments) => predict::run(arguments, output),
        RulCommand::Explain(arguments) => explain::run(arguments, output),
        RulCommand::Pull(arguments) => pull::run(arguments, output),
        RulCommand::Draw(arguments) => draw::run(arguments, output),
    }
}
