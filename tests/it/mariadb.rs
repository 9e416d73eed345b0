//! A MariaDB server of the tests' own: its own data directory, a free port, gone with the tests.
//! The unit tests of the MySQL store use this file too.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tempfile::TempDir;

/// The account of the tests, which may do everything.
const ACCOUNT: &str = "mina:s%40cret";

/// Runs the server until its standard input ends, which it does with the test process at the
/// latest: after a line `stop` in good order, else at once.
const KEEPER: &str = r#"
"$@" & server=$!
read -r how
if [ "$how" = stop ]; then kill "$server"; else kill -KILL "$server"; fi
wait "$server" 2>/dev/null
if [ "$how" != stop ]; then rm -rf "$MINA_TEST_DIRECTORY"; fi
"#;

/// A running server.
pub struct Mariadb {
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    keeper: Option<Child>,
}

/// A database of one test.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    /// What goes into `storage.url`.
    pub url: String,
    port: u16,
}

fn command(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    // Where distributions keep servers.
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    command
}

impl Mariadb {
    /// The server that the tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Mariadb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server of its own.
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// Starts a server of its own with the arguments that `more` makes, given the directory.
    pub fn start_with(more: impl Fn(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let installed = command("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", directory.path().join("data").display()))
            .args(as_root())
            .env("TMPDIR", directory.path())
            .output()
            .expect("mariadb-install-db runs; tests/setup.sh installs it");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let accounts = "CREATE USER IF NOT EXISTS mina@'%' IDENTIFIED BY 's@cret';\n\
                        GRANT ALL ON *.* TO mina@'%' WITH GRANT OPTION;\n";
        std::fs::write(directory.path().join("init.sql"), accounts).expect("it is written");
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let mut arguments = arguments(directory.path(), port);
        arguments.extend(more(directory.path()));
        let mut server = Self { directory, port, arguments, keeper: None };
        server.go_on();
        server
    }

    /// Starts the server again after [`Mariadb::stop`], on the same port and data.
    pub fn go_on(&mut self) {
        let path = self.directory.path();
        let keeper = command("sh")
            .args(["-c", KEEPER, "keeper", "mariadbd", "--no-defaults"])
            .args(&self.arguments)
            .args(as_root())
            .env("MINA_TEST_DIRECTORY", path)
            // A server that starts removes the temporary tables of others from a shared one.
            .env("TMPDIR", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell runs");
        self.keeper = Some(keeper);
        let started = Instant::now();
        while !greets(self.port) {
            let log = path.join("log");
            let waited = started.elapsed() < Duration::from_mins(5);
            assert!(waited, "{}", std::fs::read_to_string(log).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server in good order.
    pub fn stop(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        if let Some(mut stdin) = keeper.stdin.take() {
            stdin.write_all(b"stop\n").expect("the keeper reads");
        }
        keeper.wait().expect("the keeper ends");
    }

    /// A file in the server's directory.
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Makes an empty database, for tests that run on no runtime.
    pub fn database_now(&self) -> Database {
        block_on(self.database())
    }

    /// Makes an empty database.
    pub async fn database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cAuth{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let url = format!("mysql://{ACCOUNT}@127.0.0.1:{}/{name}", self.port);
        let database = Database { name, url, port: self.port };
        database.run_outside(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            // The keeper ends on its own as well.
            let _ = keeper.wait();
        }
    }
}

impl Database {
    /// The URL for another account, written `name:password`.
    pub fn url_for(&self, account: &str) -> String {
        self.url.replace(ACCOUNT, account)
    }

    /// A connection of the tests' own.
    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.expect("the database can be reached")
    }

    /// Runs statements that the test made up.
    pub async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect(sql);
    }

    /// Runs statements that the test made up, for tests that run on no runtime.
    pub fn run_now(&self, sql: &str) {
        block_on(self.run(sql));
    }

    /// The first column of what a query of the test's own finds.
    pub fn texts_now(&self, sql: &str) -> Vec<String> {
        block_on(async {
            let query = sqlx::query_scalar(AssertSqlSafe(sql));
            query.fetch_all(&mut self.connect().await).await.expect(sql)
        })
    }

    async fn run_outside(&self, sql: &str) {
        let url = format!("mysql://{ACCOUNT}@127.0.0.1:{}/mysql", self.port);
        let mut connection = MySqlConnection::connect(&url).await.expect("it can be reached");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect(sql);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(work)
}

fn arguments(path: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| path.join(name).display().to_string();
    vec![
        format!("--datadir={}", file("data")),
        format!("--socket={}", file("socket")),
        format!("--pid-file={}", file("pid")),
        format!("--log-error={}", file("log")),
        format!("--init-file={}", file("init.sql")),
        format!("--port={port}"),
        "--bind-address=127.0.0.1".into(),
        "--skip-name-resolve".into(),
        // A default that loses Chinese names, unless the connection says otherwise.
        "--character-set-server=latin1".into(),
        "--innodb-buffer-pool-size=128M".into(),
        "--max-connections=500".into(),
    ]
}

/// MariaDB runs as root only when it is told so.
fn as_root() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    (id.stdout.trim_ascii() == b"0").then_some("--user=root")
}

/// Tells whether the server sends its greeting.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let timeout = stream.set_read_timeout(Some(Duration::from_secs(10)));
    timeout.is_ok() && matches!(stream.read(&mut [0; 5]), Ok(5))
}
