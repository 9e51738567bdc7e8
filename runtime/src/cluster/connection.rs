//! Connections to the server, and the work queue in it.

use std::ffi::OsString;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};

use super::message::Subjects;
use crate::env;
use crate::error::{Error, ErrorKind, Result};

/// The maximum time to connect, and to wait for an answer of the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum time between attempts to connect again.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// The time after which the server removes a chunk that nobody has taken. Its program sends it again.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The number of requests for chunks that may wait at the server: one for each worker of all hosts.
const MOST_WAITING: i64 = 16_384;

/// The minimum length of messages, so that every failure fits.
const LEAST_PAYLOAD: usize = 64 << 10;

/// The name of the consumer that all agents share.
const CONSUMER: &str = "agents";

/// A connection to the server.
#[derive(Clone)]
pub(crate) struct ServerConnection {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    pub(crate) subjects: Subjects,
    /// The addresses of the servers, without passwords.
    pub(crate) url: String,
}

/// Returns addresses without the names, passwords and tokens in them.
pub(crate) fn shown(url: &str) -> String {
    let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) if rest.contains('@') => {
            format!("{scheme}://{host}")
        }
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

impl ServerConnection {
    /// Connects to one of the servers.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Cluster`] if no server can be reached, and [`ErrorKind::Configuration`] if the address is
    /// invalid or the server refuses the user.
    pub(crate) async fn open(url: &str, name: &str) -> Result<Self> {
        let places = shown(url);
        let addresses: Vec<ServerAddr> = url
            .split(',')
            .map(|one| one.trim().parse::<ServerAddr>())
            .collect::<Result<_, _>>()
            .map_err(|error| {
                let text = format!(
                    "`{places}` is no address of a NATS server ({error}); write it as nats://host:4222, or as tls://host:4222"
                );
                Error::new(ErrorKind::Configuration, text)
            })?;
        let client = options(name, &addresses).await?.connect(addresses).await.map_err(|error| {
            let kind = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    ErrorKind::Configuration
                }
                _ => ErrorKind::Cluster,
            };
            let text = match kind {
                ErrorKind::Configuration => format!(
                    "the NATS server at {places} refuses this user ({error}); give the right token or password in the address, \
                     as in nats://token@host:4222, or name a file of credentials in {} or of a seed in {}",
                    env::NATS_CREDENTIALS,
                    env::NATS_NKEY
                ),
                _ => format!(
                    "the NATS server at {places} cannot be reached ({error}); check the address, and that \
                     `nats-server -js` runs there"
                ),
            };
            Error::new(kind, text)
        })?;
        if client.max_payload() < LEAST_PAYLOAD {
            let text = format!(
                "the NATS server at {places} accepts only messages of up to {} bytes; raise its `max_payload` to at least \
                 {LEAST_PAYLOAD}",
                client.max_payload()
            );
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(REQUEST_TIMEOUT);
        let subjects = Subjects::of_this_build();
        Ok(ServerConnection { client, jetstream, subjects, url: places })
    }

    /// Creates the work queue of this build if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Cluster`].
    pub(crate) async fn ensure_stream(&self) -> Result<stream::Stream> {
        let config = stream::Config {
            name: self.subjects.stream(),
            subjects: vec![self.subjects.chunks()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            max_age: MAX_AGE,
            ..stream::Config::default()
        };
        self.jetstream.get_or_create_stream(config).await.map_err(|error| {
            let text = format!(
                "the NATS server at {} gives no work queue ({error}); JetStream must be enabled, as by \
                 `nats-server -js`, and have room",
                self.url
            );
            Error::new(ErrorKind::Cluster, text)
        })
    }

    /// Creates the consumer of the work queue if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Cluster`].
    pub(crate) async fn ensure_consumer(&self, host_timeout: Duration) -> Result<PullConsumer> {
        let stream = self.ensure_stream().await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: host_timeout,
            // The agents count (rule J5).
            max_deliver: -1,
            max_ack_pending: MOST_WAITING,
            max_waiting: MOST_WAITING,
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.map_err(|error| {
            let text = format!(
                "the NATS server at {} gives no access to the work queue: {error}",
                self.url
            );
            Error::new(ErrorKind::Cluster, text)
        })
    }
}

impl ServerConnection {
    /// Returns how often the connection was made.
    pub(crate) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns whether agents have chunks or can get some; `None` if the server does not answer, or no agent has ever
    /// been there.
    pub(crate) async fn has_work(&self) -> Option<bool> {
        let stream = self.jetstream.get_stream_no_info(self.subjects.stream()).await.ok()?;
        let consumer = stream.consumer_info(CONSUMER).await.ok()?;
        Some(consumer.num_pending > 0 || consumer.num_ack_pending > 0)
    }
}

/// Returns the options of all connections. The client does not read the user in an address.
async fn options(name: &str, addresses: &[ServerAddr]) -> Result<ConnectOptions> {
    let user = addresses.iter().find_map(|one| Some((one.username()?, one.password())));
    let options = match user {
        Some((user, Some(password))) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        Some((token, None)) => ConnectOptions::with_token(token.to_owned()),
        None => ConnectOptions::new(),
    };
    let options = options
        .name(name)
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            Duration::from_millis(50).saturating_mul(attempts).min(BETWEEN_ATTEMPTS)
        });
    let options = match env::nats_ca() {
        Some(path) => options.add_root_certificates(path.into()),
        None => options,
    };
    let unusable = |name: &str, path: &OsString, error: std::io::Error| {
        let path = path.to_string_lossy();
        let text = format!("the file `{path}`, which {name} names, cannot be used: {error}");
        Error::new(ErrorKind::Configuration, text)
    };
    if let Some(path) = env::nats_nkey() {
        let seed = std::fs::read_to_string(&path)
            .map_err(|error| unusable(env::NATS_NKEY, &path, error))?;
        return Ok(options.nkey(seed.trim().to_owned()));
    }
    let Some(path) = env::nats_credentials() else { return Ok(options) };
    let options = options.credentials_file(&path).await;
    options.map_err(|error| unusable(env::NATS_CREDENTIALS, &path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(shown("nats://secret@a:1,tls://u:p@b:2"), "nats://a:1,tls://b:2");
        assert_eq!(shown("nats://a:1"), "nats://a:1");
        assert_eq!(shown("secret@a"), "a");
        assert_eq!(shown("nats://u:p@ss@a:1"), "nats://a:1");
    }
}
