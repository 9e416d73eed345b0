//! A database that gives fewer connections than `storage.max_connections`.

use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use sqlx::MySqlConnection;

use super::*;

/// How many connections the pool may have.
const ALLOWED: usize = 16;

/// How many the database gives it.
const GIVEN: usize = 7;

struct Limited {
    _server: Mariadb,
    database: Database,
    /// The test's own connection: for another there may be no room.
    own: Mutex<MySqlConnection>,
    /// The store's account may do only what it needs, so no limit makes an exception for it.
    settings: Settings,
}

impl Limited {
    /// A server that can limit the connections of an account, and does not yet.
    async fn start() -> Self {
        let server = Mariadb::start_with(|_| vec!["--max-user-connections=400".into()]);
        let database = server.database().await;
        let name = &database.name;
        let account = format!(
            "CREATE USER few@'%' IDENTIFIED BY 'pw';
             GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON {name}.* TO few@'%'"
        );
        database.run(&account).await;
        let settings =
            Settings { max_connections: ALLOWED, ..settings(&database.url_for("few:pw")) };
        let own = Mutex::new(database.connect().await);
        Self { _server: server, database, own, settings }
    }

    /// How many connections the store has.
    async fn connections(&self) -> usize {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'few'";
        let count = sqlx::query_scalar(sql).fetch_one(&mut *self.own.lock().await).await;
        let count: i64 = count.expect("they are counted");
        usize::try_from(count).expect("a count is not negative")
    }

    /// Waits until the store has as many.
    async fn wait_for_connections(&self, wanted: usize) {
        let started = Instant::now();
        while self.connections().await != wanted {
            assert!(started.elapsed() < Duration::from_mins(1), "there are not {wanted} of them");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Limits the connections of all to ten, for MariaDB takes no lower number, and has others
    /// hold so many of them that these are left.
    async fn leave(&self, left: usize) -> Vec<MySqlConnection> {
        let others = 10 - left - 1;
        let others = join_all((0..others).map(|_| self.database.connect())).await;
        self.set("SET GLOBAL max_connections = 10").await;
        others
    }

    async fn leave_enough(&self) {
        self.set("SET GLOBAL max_connections = 500").await;
    }

    /// Changes a limit.
    async fn set(&self, sql: &str) {
        let mut own = self.own.lock().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *own).await.expect(sql);
    }
}

/// Asks so often from 40 callers, each of which keeps a connection for a moment.
async fn ask(store: &Arc<Mysql>, times: usize) -> Result<(), StoreError> {
    let caller = || async {
        for _ in 0..times {
            store.run("sleeping", Mode::Plain, (), sleep_a_moment).await?;
        }
        Ok(())
    };
    try_join_all((0..40).map(|_| caller())).await.map(drop)
}

fn sleep_a_moment<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (): &'a (),
) -> futures_util::future::BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        sqlx::query("DO SLEEP(0.005)").execute(connection).await?;
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_refused_while_a_connection_works() {
    let limited = Limited::start().await;
    // 1040
    let store = open(&limited.settings).await;
    let others = limited.leave(GIVEN).await;
    ask(&store, 50).await.expect("all are answered");
    assert_eq!(limited.connections().await, GIVEN);
    drop((store, others));
    limited.leave_enough().await;
    for limit in [
        // 1203
        format!("SET GLOBAL max_user_connections = {GIVEN}"),
        // 1226
        format!("ALTER USER few@'%' WITH MAX_USER_CONNECTIONS {GIVEN}"),
    ] {
        limited.wait_for_connections(0).await;
        let store = open(&limited.settings).await;
        limited.set(&limit).await;
        ask(&store, 50).await.expect("all are answered");
        assert_eq!(limited.connections().await, GIVEN, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_finds_back_to_its_size() {
    let limited = Limited::start().await;
    let store = open(&limited.settings).await;
    let others = limited.leave(GIVEN).await;
    ask(&store, 5).await.expect("all are answered");
    assert_eq!(limited.connections().await, GIVEN);
    limited.leave_enough().await;
    drop(others);
    let asking = async {
        loop {
            ask(&store, 1).await.expect("all are answered");
        }
    };
    tokio::select! {
        () = asking => {}
        () = limited.wait_for_connections(ALLOWED) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_gives_none_is_said_to_after_the_timeout() {
    let limited = Limited::start().await;
    let settings = Settings { timeout: Duration::from_secs(2), ..limited.settings.clone() };
    let store = open(&settings).await;
    let others = limited.leave(0).await;
    let asked = Instant::now();
    let outcomes = join_all((0..40).map(|_| ask(&store, 1))).await;
    assert!(asked.elapsed() >= settings.timeout, "one might have come");
    for outcome in outcomes {
        let error = outcome.expect_err("there is no connection");
        let text = crate::causes::with_causes(&error);
        for part in ["Too many connections", "none came back within 2s (`storage.timeout`)"] {
            assert!(text.contains(part), "{text}");
        }
    }
    drop(others);
    ask(&store, 1).await.expect("it goes on when others leave some");
}
