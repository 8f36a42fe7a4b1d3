use crate::catalogue::Address;
use std::path::PathBuf;
use std::time::Duration;

/// How things are fetched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ask no network: only what is on this machine counts.
    pub offline: bool,
    /// Where every address is looked for instead, as `MIRROR/HOST/PATH`.
    pub mirror: Option<String>,
    /// The Hugging Face hub.
    pub hub: String,
    /// The hub's cache on this machine.
    pub hub_cache: Option<PathBuf>,
    /// Whether what comes from the hub is put into its cache for other programs.
    pub share_with_hub: bool,
    /// Where torchvision keeps the checkpoints it has fetched.
    pub torch_cache: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Whether `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are followed.
    pub proxies: bool,
    /// The SHA-256 that the file must have, whatever else is known of it.
    pub sha256: Option<String>,
    /// How long is waited for what.
    pub patience: Patience,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connection: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the next bytes of an answer.
    pub bytes: Duration,
    /// Over this span, a server must send at least [`SLOWEST`](Self::SLOWEST) bytes a second.
    pub span: Duration,
    /// Before the first new try; doubled before each other.
    pub pause: Duration,
    /// The longest that a server may ask to wait.
    pub longest: Duration,
    /// How many new tries there are without a megabyte between them.
    pub tries: u32,
}

impl Patience {
    /// The bytes a second below which a server counts as stuck.
    pub const SLOWEST: f64 = 1024.0;
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connection: seconds(10),
            answer: seconds(60),
            bytes: seconds(30),
            span: seconds(60),
            pause: seconds(1),
            longest: seconds(120),
            tries: 5,
        }
    }
}

impl Default for Settings {
    /// No mirror, no caches, no proxy: the addresses as they are published.
    fn default() -> Self {
        Self {
            offline: false,
            mirror: None,
            hub: "https://huggingface.co".into(),
            hub_cache: None,
            share_with_hub: false,
            torch_cache: None,
            certificates: None,
            proxies: false,
            sha256: None,
            patience: Patience::default(),
        }
    }
}

impl Settings {
    /// What the environment says: `FAITHFUL_MIRROR`, `FAITHFUL_OFFLINE`, `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME`,
    /// `HF_HUB_CACHE`, `TORCH_HOME`, `SSL_CERT_FILE` and the variables of proxies. What comes from the hub is put into
    /// its cache where `HF_HOME` or `HF_HUB_CACHE` is set.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()), std::env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Self {
        let is_on = |name: &str| variable(name).is_some_and(|value| !["0", "false", "no"].contains(&value.as_str()));
        let without_slash = |text: String| text.trim_end_matches('/').to_owned();
        // Both programs use this folder on every system.
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".cache")));
        let named = variable("HF_HUB_CACHE")
            .map(PathBuf::from)
            .or_else(|| variable("HF_HOME").map(|home| PathBuf::from(home).join("hub")));
        let torch = variable("TORCH_HOME")
            .map(PathBuf::from)
            .or_else(|| cache.as_ref().map(|cache| cache.join("torch")))
            .map(|torch| torch.join("hub/checkpoints"));
        Self {
            offline: is_on("FAITHFUL_OFFLINE") || is_on("HF_HUB_OFFLINE"),
            mirror: variable("FAITHFUL_MIRROR").map(without_slash),
            hub: variable("HF_ENDPOINT").map_or_else(|| Self::default().hub, without_slash),
            share_with_hub: named.is_some(),
            hub_cache: named.or_else(|| cache.map(|cache| cache.join("huggingface/hub"))),
            torch_cache: torch,
            certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
            proxies: true,
            ..Self::default()
        }
    }

    /// Where `address` is asked for.
    pub(crate) fn url(&self, address: &Address) -> String {
        let published = match address {
            Address::Url(url) => (*url).to_owned(),
            Address::Torchvision(file) => format!("https://download.pytorch.org/models/{file}"),
            Address::Hub { repository, revision, file } => {
                format!("{}/{repository}/resolve/{revision}/{file}", self.hub)
            }
        };
        match &self.mirror {
            Some(mirror) => {
                let rest = published.split_once("://").map_or(published.as_str(), |(_, rest)| rest);
                format!("{mirror}/{rest}")
            }
            None => published,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Settings {
        let find = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        Settings::from_variables(find, Some("/home/me".into()))
    }

    #[test]
    fn caches_are_where_their_programs_look() {
        let plain = of(&[]);
        assert_eq!(plain.hub_cache, Some("/home/me/.cache/huggingface/hub".into()));
        assert_eq!(plain.torch_cache, Some("/home/me/.cache/torch/hub/checkpoints".into()));
        assert!(!plain.share_with_hub && !plain.offline && plain.proxies);
        let moved = of(&[("HF_HOME", "/hf"), ("TORCH_HOME", "/torch"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!(moved.hub_cache, Some("/hf/hub".into()));
        assert_eq!(moved.torch_cache, Some("/torch/hub/checkpoints".into()));
        assert!(moved.share_with_hub && moved.offline);
        let both = of(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/cache"), ("FAITHFUL_OFFLINE", "0")]);
        assert_eq!((both.hub_cache, both.offline), (Some("/cache".into()), false));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/x")]).hub_cache, Some("/x/huggingface/hub".into()));
    }

    #[test]
    fn mirrors_stand_in_for_hosts() {
        let hub = Address::Hub { repository: "timm/vgg16.tv_in1k", revision: "b8d8", file: "model.safetensors" };
        let url = Address::Torchvision("vgg16-397923af.pth");
        assert_eq!(of(&[]).url(&hub), "https://huggingface.co/timm/vgg16.tv_in1k/resolve/b8d8/model.safetensors");
        assert_eq!(of(&[("HF_ENDPOINT", "https://hub.test/")]).url(&hub)[..24], *"https://hub.test/timm/vg");
        let mirrored = of(&[("FAITHFUL_MIRROR", "http://mirror.test/faithful/")]);
        let expected = "http://mirror.test/faithful/download.pytorch.org/models/vgg16-397923af.pth";
        assert_eq!(mirrored.url(&url), expected);
        assert!(mirrored.url(&hub).starts_with("http://mirror.test/faithful/huggingface.co/timm/"));
    }
}
