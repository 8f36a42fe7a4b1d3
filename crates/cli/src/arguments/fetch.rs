use clap::Args;
use std::path::PathBuf;

/// How things are fetched.
#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// Ask no network: take it from the caches of this machine or fail
    #[arg(long)]
    pub(crate) offline: bool,
    /// The SHA-256 that the published file must have, instead of what is known of it
    #[arg(long, value_name = "DIGITS")]
    pub(crate) sha256: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// Architectures of `faithful model list`, or `all`
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) fetch: FetchArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// A state dictionary as `torch.save` writes it, or safetensors under other names
    #[arg(value_name = "FILE.pth")]
    pub(crate) from: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    pub(crate) to: PathBuf,
    /// Refuse weights that are not exactly this architecture's
    #[arg(long, value_name = "NAME")]
    pub(crate) architecture: Option<String>,
}
