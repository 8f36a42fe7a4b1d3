//! A prefix in a bucket of an S3-compatible store.

use bytes::Bytes;
use faithful_core::{Error, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::sync::{Arc, Once};
use tokio::runtime::{Builder, Runtime};

/// Objects below a prefix. A put makes an object appear whole or not at all, as the run's parts need it.
///
/// The `AWS_*` variables of the environment say where the store is and who asks: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` and so on. HTTP without TLS needs `AWS_ALLOW_HTTP=true`, except for
/// a server on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    store: Arc<AmazonS3>,
    runtime: Arc<Runtime>,
    bucket: String,
    prefix: Path,
}

impl Bucket {
    /// The prefix `rest`, which is `bucket/prefix`.
    pub(crate) fn new(rest: &str) -> Result<Self> {
        static PROVIDER: Once = Once::new();
        // Another part of the program may have chosen its cryptography already, which is as good.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let (bucket, prefix) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        if bucket.is_empty() {
            return Err(Error::parameter("run", format!("`s3://{rest}` names no bucket: s3://BUCKET/RUN is needed")));
        }
        let wrong = |reason: String| Error::parameter("run", format!("`s3://{rest}`: {reason}"));
        let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].map(std::env::var);
        if endpoint.into_iter().flatten().next().is_some_and(|endpoint| is_loopback(&endpoint)) {
            builder = builder.with_allow_http(true);
        }
        let store = builder.build().map_err(|error| wrong(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Io { path: "the thread that talks to S3".into(), source })?;
        Ok(Self { store: Arc::new(store), runtime: Arc::new(runtime), bucket: bucket.into(), prefix })
    }

    pub(crate) fn label(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.place(name))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let place = self.place(name);
        let bytes = self.runtime.block_on(async { self.store.get(&place).await?.bytes().await });
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let put = self.runtime.block_on(self.store.put(&self.place(name), bytes.to_vec().into()));
        put.map(drop).map_err(|error| self.failed(name, error))
    }

    /// Writes an object unless there is one; whether it was written. A store without conditional puts is asked first, so that
    /// two processes at the same instant are both told that they wrote it.
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let place = self.place(name);
        let put = self.store.put_opts(&place, bytes.to_vec().into(), PutMode::Create.into());
        match self.runtime.block_on(put) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                if self.read(name)?.is_some() {
                    return Ok(false);
                }
                self.write(name, bytes).map(|()| true)
            }
            Err(error) => Err(self.failed(name, error)),
        }
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match self.runtime.block_on(self.store.delete(&self.place(name))) {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(self.failed(name, error)),
            _ => Ok(()),
        }
    }

    /// The names of the objects right below `folder`.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(&self.place(folder))));
        let listed = listed.map_err(|error| self.failed(folder, error))?;
        Ok(listed.objects.into_iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect())
    }

    fn place(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn failed(&self, name: &str, error: object_store::Error) -> Error {
        Error::Io { path: self.label(name), source: std::io::Error::other(error) }
    }
}

/// Whether an address is of this machine, so that what is said there crosses no network.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_asked_in_the_clear() {
        for local in ["http://127.0.0.1:9000", "http://localhost:5000/", "http://[::1]:80"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in ["https://127.0.0.1:9000", "http://10.0.0.1:9000", "http://127.0.0.1.example.org", "", "127.0.0.1"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn names_lie_below_the_prefix() {
        let bucket = Bucket::new("maps/runs/first/").unwrap();
        assert_eq!(bucket.label("parts/a.parquet"), "s3://maps/runs/first/parts/a.parquet");
        assert_eq!(Bucket::new("maps").unwrap().label("manifest.json"), "s3://maps/manifest.json");
        assert!(Bucket::new("").is_err() && Bucket::new("/x").is_err());
    }
}
