//! The composition root: a configuration, bound listeners and a signal to stop make a server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::admin::access::Access;
use crate::admin::console::{self, Console, History, Phone};
use crate::admin::{Admin, api, health, metrics};
use crate::causes::with_causes;
use crate::clock;
use crate::config::{Addresses, Config, Touch};
use crate::http::bodies::Bodies;
use crate::http::v1::V1;
use crate::http::wafer::Wafer;
use crate::http::wechat_api::WeChatApi;
use crate::http::{Public, Shared};
use crate::net::address::{self, Address, Bound};
use crate::net::door::Door;
use crate::net::listener::{self, Serving, Terms};
use crate::net::open_files;
use crate::net::refusals::Refusals;
use crate::net::tls::{self, Tls};
use crate::operations::limits::RequestLimits;
use crate::operations::{Operations, SessionSettings};
use crate::random;
use crate::session::{Lifetime, SessionId};
use crate::store::cached::{CacheSettings, Cached, Trust};
use crate::store::metered::{Metered, StoreNumbers};
use crate::store::{self, Expiry, Opener, StorageUrl, Store};
use crate::telemetry::alarm::{self, Look, Receiver, Watch};
use crate::telemetry::requests::RequestLog;
use crate::telemetry::stats::Recorder;
use crate::telemetry::tally::Tallies;
use crate::wafer::codes::Meaning;
use crate::wechat::client::{self, Client};

/// How often the change feed is read.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// A store that takes longer than this to tell what changed counts as down.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// How often expired sessions are looked for, and the pause between two slices of them.
const PURGE_EVERY: Duration = Duration::from_mins(10);
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// Expired sessions are deleted this many seconds late: another node may hold a visit that is
/// not written yet.
const PURGE_GRACE: i64 = 3600;

/// The files that a server has open besides its connections, generously.
const OTHER_FILES: u64 = 256;

/// The bound sockets of a server, and their TLS.
pub struct Listeners {
    public: Vec<Bound>,
    public_tls: Option<Arc<Tls>>,
    admin: Vec<Bound>,
    admin_tls: Option<Arc<Tls>>,
}

impl Listeners {
    /// Reads the certificates and binds every address of the configuration.
    ///
    /// # Errors
    ///
    /// Names the setting and the file that cannot be used, or the address that cannot be had.
    pub fn bind(config: &Config) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        let open = |files: Option<tls::Files>| files.map(Tls::open).transpose();
        let (public_tls, admin_tls) = (open(config.server_tls()?)?, open(config.admin_tls()?)?);
        let bind = |setting: &'static str, addresses: &Addresses, threads| {
            let bound = addresses.0.iter().map(|address| {
                address::bind(address, threads)
                    .with_context(|| format!("`{setting}`: cannot listen on {address}"))
            });
            bound.collect::<Result<_>>()
        };
        Ok(Self {
            public: bind("server.listen", &config.server.listen, threads)?,
            public_tls: public_tls.map(Arc::new),
            admin: bind("admin.listen", &config.admin.listen, 1)?,
            admin_tls: admin_tls.map(Arc::new),
        })
    }

    /// The addresses of the protocol endpoint.
    pub fn public_addresses(&self) -> impl Iterator<Item = &Address> {
        self.public.iter().map(|bound| &bound.address)
    }

    /// The addresses of the admin listener.
    pub fn admin_addresses(&self) -> impl Iterator<Item = &Address> {
        self.admin.iter().map(|bound| &bound.address)
    }
}

/// Serves until `stop` is ready, finishes what was begun, and returns. A phone to play is for `dev`.
///
/// # Errors
///
/// When the server cannot be started, or last visits could not be written at its end.
pub async fn serve(
    config: &Config,
    listeners: Listeners,
    phone: Option<Phone>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    raise_open_files(config);
    let store_numbers = StoreNumbers::new()?;
    let operations = Arc::new(operations(config, store_numbers.clone()).await?);
    let (stopping, stopped) = watch::channel(false);
    let Listeners { public, public_tls, admin, admin_tls } = listeners;
    let [public_terms, admin_terms] = terms(config, public_tls, admin_tls)?;
    let mut tasks = JoinSet::new();
    for terms in [&public_terms, &admin_terms] {
        tasks.spawn(Arc::clone(&terms.refusals).keep_reporting());
        if let Some(tls) = &terms.tls {
            tasks.spawn(Arc::clone(tls).follow());
        }
    }

    let shared = Arc::new(shared(config, &operations, &public_terms)?);
    log_addresses("protocol", &public);
    let tallies = Tallies::default();
    let handler =
        || Public::new(Arc::clone(&shared), RequestLog::new(&config.log, tallies.tally()));
    let drain = config.server.drain_timeout.0;
    let threads = listener::serve(public, handler, &public_terms, &stopped, drain)?;

    let numbers = metrics::router(metrics::Sources {
        operations: Arc::clone(&operations),
        tallies: tallies.clone(),
        store: store_numbers,
        listeners: [&public_terms, &admin_terms].map(metrics::Listener::from).into(),
        file: match &config.storage.url {
            StorageUrl::Sqlite(path) => Some(path.clone()),
            StorageUrl::Memory | StorageUrl::Mysql(_) => None,
        },
        app_label: config.metrics.app_label,
    });
    let recorder =
        Arc::new(Recorder::new(tallies.clone(), SessionId::new(random::bytes()).as_str().into()));
    let history = Arc::new(History::new(Arc::clone(&operations), Arc::clone(&recorder)));
    let hosts = config.admin.hosts.0.clone();
    let access = Access::new(config.admin_token()?, hosts, admin_terms.tls.is_some());
    let access = Arc::new(access);
    if access.is_on() {
        let history = Arc::clone(&history);
        tasks.spawn(async move { history.keep_counting().await });
    }
    let console = Console {
        operations: Arc::clone(&operations),
        access: Arc::clone(&access),
        tallies: tallies.clone(),
        history,
        settings: config.settings(),
        phone,
    };
    let routes = health::router(Arc::clone(&operations), stopped)
        .merge(numbers)
        .merge(api::router(Arc::clone(&operations), Arc::clone(&access)))
        .merge(console::router(console));
    let admin_server = Serving::new(Admin::new(routes, access), admin_terms);
    log_addresses("admin", &admin);
    let sockets = admin.into_iter().flat_map(|bound| bound.sockets).collect();
    tasks.spawn(async move { Arc::new(admin_server).run(sockets).await });
    tasks.spawn(follow_changes(Arc::clone(&operations)));
    tasks.spawn(write_visits(Arc::clone(&operations)));
    tasks.spawn(purge(Arc::clone(&operations)));
    if let Some(url) = config.alarm_url()? {
        let receiver = Receiver::new(url, config.alarm.format).map_err(anyhow::Error::msg)?;
        let watch = Watch::new(config.alarm.below);
        tasks.spawn(raise_alarms(Arc::clone(&operations), tallies.clone(), receiver, watch));
    }
    tasks.spawn({
        let (recorder, operations) = (Arc::clone(&recorder), Arc::clone(&operations));
        async move { recorder.keep_recording(operations.store()).await }
    });

    stop.await;
    info!("stopping: finishing open requests");
    stopping.send_replace(true);
    let joined = tokio::task::spawn_blocking(|| {
        threads.into_iter().try_for_each(std::thread::JoinHandle::join)
    });
    if joined.await?.is_err() {
        error!("a listener thread panicked");
    }
    tasks.shutdown().await;
    // Visits first: sessions hang on them, and nothing on numbers.
    let visits = operations.store().write_all_visits().await;
    recorder.finish(operations.store()).await;
    visits.context("last visits could not be written")?;
    // With the last of them the store is closed.
    drop((shared, operations));
    info!("stopped");
    Ok(())
}

/// What the threads of the protocol listener share.
fn shared(config: &Config, operations: &Arc<Operations>, terms: &Terms) -> Result<Shared> {
    let (server, api) = (&config.server, &config.api);
    let v1 = V1 { token_in_url: api.token_in_url, phone: api.phone };
    Ok(Shared {
        operations: Arc::clone(operations),
        bodies: Bodies::new(
            usize::try_from(server.max_body.0)?,
            usize::try_from(config.limits.long_bodies.0)?,
        ),
        access_key: config.access_key()?,
        refusals: Arc::clone(&terms.refusals),
        v1: api.enabled.then_some(v1),
        wechat_api: wechat_api(config)?,
        wafer: Wafer { initdata: config.initdata()?, default_lifetime: Lifetime::default() },
    })
}

/// How the protocol listener takes connections, and how the admin listener does.
fn terms(
    config: &Config,
    public_tls: Option<Arc<Tls>>,
    admin_tls: Option<Arc<Tls>>,
) -> Result<[Terms; 2]> {
    let (limits, allow) = (&config.limits, config.server.allow.0.clone());
    let header_size = usize::try_from(limits.header_size.0)?;
    let terms = |listener, door, tls| Terms {
        door: Arc::new(door),
        refusals: Arc::new(Refusals::new(listener)),
        tls,
        header_size,
        patience: config.patience(),
    };
    let public = Door::new(allow, limits.connections, limits.connections_per_address);
    // Monitoring gets in however many connections the protocol listener has.
    let admin = Door::new(Vec::new(), limits.connections, 0);
    Ok([terms("protocol", public, public_tls), terms("admin", admin, admin_tls)])
}

/// Who may call WeChat's API; `None` when nobody may.
fn wechat_api(config: &Config) -> Result<Option<WeChatApi>> {
    let Some(key) = config.wechat_api_key()? else { return Ok(None) };
    let requests = config.wechat_api.requests.min(Semaphore::MAX_PERMITS);
    Ok(Some(WeChatApi {
        key,
        allowed: config.wechat_api_paths()?,
        places: (requests > 0).then(|| Arc::new(Semaphore::new(requests))),
        max_body: usize::try_from(config.wechat_api.max_body.0)?,
    }))
}

fn log_addresses(listener: &str, bound: &[Bound]) {
    for Bound { address, .. } in bound {
        info!(listener, %address, "listening");
    }
}

/// Lets the process open all the files that it may, and says so when they are too few.
fn raise_open_files(config: &Config) {
    let connections = config.limits.connections;
    if let Some(files) = open_files::raise()
        && files < OTHER_FILES + connections as u64
    {
        warn!(
            files,
            connections,
            "the process may not open a file for each of `limits.connections`: raise its limit \
             (LimitNOFILE, ulimit -n)"
        );
    }
}

/// Opens the store, writes the configured apps into it and puts the operations on top.
async fn operations(config: &Config, numbers: StoreNumbers) -> Result<Operations> {
    let store = store::open(&config.store()?, Opener::Server).await?;
    write_apps(config, &*store).await?;
    let settings = CacheSettings {
        // The PHP server tells nobody what it changes: every check reads the row.
        max_bytes: if config.storage.shared_with_php {
            0
        } else {
            usize::try_from(config.cache.max_bytes.0)?
        },
        max_stale: seconds(config.cache.max_stale.0),
        touch_interval: seconds(config.sessions.touch_interval.0),
    };
    let store: Arc<dyn Store> = Arc::new(Metered::new(store, numbers));
    let store = Cached::open(store, settings, clock::now()).await?;
    if store.apps().iter().next().is_none() {
        warn!("there is no app yet: every login is answered with 1012; see `mina-auth app add`");
    }
    let settings = SessionSettings {
        per_user: config.sessions.per_user,
        per_user_of_devices: (!config.storage.shared_with_php)
            .then_some(config.api.sessions_per_user),
        touch_sync: config.sessions.touch == Touch::Sync,
    };
    let limits = RequestLimits {
        requests: config.limits.requests,
        logins_per_second: config.limits.logins_per_second,
        decrypt_failures: config.limits.decrypt_failures,
    };
    Ok(Operations::new(store, wechat(config)?, settings, limits))
}

/// Makes the client of WeChat's API that the configuration describes.
///
/// # Errors
///
/// When it cannot be made.
pub fn wechat(config: &Config) -> Result<Client> {
    let settings = client::Settings {
        base_urls: config.wechat_base_urls()?,
        timeout: config.wechat.timeout.0,
        proxy: config.proxy()?,
    };
    Client::new(settings).map_err(anyhow::Error::msg).context("the client of WeChat's API")
}

/// Writes the apps of the configuration into the store, where they win.
///
/// # Errors
///
/// When a secret cannot be read or the store cannot be written.
pub async fn write_apps(config: &Config, store: &dyn Store) -> Result<()> {
    // Those that cannot be read are written.
    let stored = store.apps().await.unwrap_or_default();
    for app in config.apps()? {
        // Each write of an app makes every node forget the sessions that it has in memory.
        if !stored.contains(&app) {
            store.put_app(&app).await?;
        }
    }
    Ok(())
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

async fn follow_changes(operations: Arc<Operations>) {
    let mut ticks = interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down = false;
    loop {
        ticks.tick().await;
        let following = operations.store().follow(clock::now());
        let problem = match timeout(FOLLOW_TIMEOUT, following).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(with_causes(&error)),
            Err(_) => {
                operations.store().miss();
                Some("it does not answer".to_owned())
            }
        };
        match &problem {
            Some(cause) if !down => error!(
                cause,
                "the store cannot be read; known sessions check out for `cache.max_stale`"
            ),
            None if down => info!("the store can be read again"),
            _ => {}
        }
        down = problem.is_some();
    }
}

async fn write_visits(operations: Arc<Operations>) {
    loop {
        operations.store().visits_due().await;
        // They wait on after a failure, and `follow_changes` reports that the store is down.
        let _ = operations.store().write_visits().await;
    }
}

async fn raise_alarms(
    operations: Arc<Operations>,
    tallies: Tallies,
    mut receiver: Receiver,
    mut watch: Watch,
) {
    let system = rustix::system::uname();
    let node = system.nodename().to_string_lossy();
    let mut ticks = interval(alarm::LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (counts, refused) = (tallies.sum(), operations.wechat().refused_apps());
        let look = Look {
            counts: &counts,
            refused: &refused,
            is_wechat_away: operations.wechat().is_left_alone(),
            is_store_away: operations.store().trust(clock::now()) != Trust::Full,
        };
        let turns = watch.look(&look, |code| Meaning::of(code).is_callers);
        receiver.tell(turns, &node).await;
    }
}

async fn purge(operations: Arc<Operations>) {
    let mut ticks = interval(PURGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match purge_once(&operations).await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "expired sessions were deleted"),
            Err(error) => {
                warn!(cause = with_causes(&error), "expired sessions could not be deleted");
            }
        }
    }
}

async fn purge_once(operations: &Operations) -> Result<u64, store::StoreError> {
    let store = operations.store();
    let before = clock::now() - PURGE_GRACE;
    let apps = store.apps();
    let expiry: Vec<Expiry> =
        apps.iter().map(|app| Expiry::at(before, app.appid.clone(), app.lifetime)).collect();
    let mut removed = 0;
    let mut cursor = Some(String::new());
    while let Some(from) = cursor {
        let purged = store.purge(&expiry, &from).await?;
        removed += purged.removed;
        cursor = purged.next;
        tokio::time::sleep(PURGE_PAUSE).await;
    }
    Ok(removed)
}
