//! How the tables come to be, and what stands in the way.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sql_that_would_run_is_the_sql_that_runs() {
    let database = Mariadb::shared().database().await;
    let settings = settings(&database.url);
    let pending = Mysql::pending_migrations(&settings).await.expect("it can be looked at");
    assert!(pending.iter().any(|sql| sql.starts_with("CREATE TABLE IF NOT EXISTS cSessionInfo")));
    for sql in &pending {
        database.run(sql).await;
    }
    let left = Mysql::pending_migrations(&settings).await.expect("it can be looked at");
    assert_eq!(left, Vec::<String>::new());
    let store = open(&settings).await;
    store.sign_in(login("o1", "k", 1)).await.expect("it is in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_migrate_at_the_same_moment() {
    for _ in 0..5 {
        let database = Mariadb::shared().database().await;
        let settings = settings(&database.url);
        let (a, b) = tokio::join!(Mysql::open(&settings, true), Mysql::open(&settings, true));
        assert!(a.is_ok() && b.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_cut_short_is_taken_again() {
    let (store, database) = fresh().await;
    drop(store);
    database.run("DELETE FROM mina_migration").await;
    open(&settings(&database.url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_left_alone() {
    let (_store, database) = fresh().await;
    database.run("INSERT INTO mina_migration VALUES (99)").await;
    let error = refused(&settings(&database.url)).await;
    assert!(error.contains("newer mina-auth (schema 99"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_with_the_sql_to_run() {
    let database = Mariadb::shared().database().await;
    let name = &database.name;
    let account = format!("poor_{name}");
    database
        .run(&format!(
            "CREATE USER {account}@'%' IDENTIFIED BY 'pw'; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {account}@'%'"
        ))
        .await;
    let poor = settings(&database.url_for(&format!("{account}:pw")));
    let error = refused(&poor).await;
    assert!(error.contains("lacks the right CREATE"), "{error}");
    assert!(error.contains("GRANT CREATE ON"), "{error}");
    let sql = error.split_once("\n\n").expect("the SQL follows").1;
    assert!(sql.contains("ALTER TABLE cSessionInfo"), "{error}");
    // As the message says: run by hand by somebody else.
    database.run(sql).await;
    let store = open(&poor).await;
    store.sign_in(login("o1", "k", 1)).await.expect("it is in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_way_to_the_database_is_said() {
    let database = Mariadb::shared().database().await;
    let absent = settings(&format!("{}x", database.url));
    assert!(refused(&absent).await.contains("CREATE DATABASE"));
    let wrong = settings(&database.url_for("mina:wrong-password"));
    let error = refused(&wrong).await;
    assert!(error.contains("Access denied"), "{error}");
    assert!(!error.contains("wrong-password"), "{error}");
    let no_tls = settings(&format!("{}?ssl-mode=REQUIRED", database.url));
    assert!(refused(&no_tls).await.contains("does not support TLS"));
    let nobody = settings("mysql://u:p@127.0.0.1:1/cAuth");
    assert!(refused(&nobody).await.contains("refused"));
    let empty = Mysql::open(&settings(&database.url), false).await.expect_err("nothing is there");
    assert!(empty.to_string().contains("no tables"), "{empty}");
}

/// Speaks as MySQL 8 does to an account with `caching_sha2_password` whose password is not in the
/// server's cache: full authentication, which without TLS means encryption with the server's key.
async fn mysql_8_without_tls() -> u16 {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = socket.local_addr().expect("it has an address").port();
    tokio::spawn(async move {
        let (mut client, _) = socket.accept().await.expect("a client comes");
        let mut greeting = vec![10];
        greeting.extend(b"8.0.36\0");
        greeting.extend([7, 0, 0, 0]);
        greeting.extend(b"abcdefgh\0");
        // PROTOCOL_41, SECURE_CONNECTION, CONNECT_WITH_DB, PLUGIN_AUTH; no SSL.
        greeting.extend([0x08, 0x82, 0xff, 2, 0, 0x08, 0, 21]);
        greeting.extend([0; 10]);
        greeting.extend(b"ijklmnopqrst\0caching_sha2_password\0");
        send(&mut client, 0, &greeting).await;
        receive(&mut client).await;
        // Full authentication.
        send(&mut client, 2, &[1, 4]).await;
        assert_eq!(receive(&mut client).await, [2], "the client asks for the public key");
        send(&mut client, 4, b"\x01-----BEGIN PUBLIC KEY-----").await;
        // The client goes away.
        let _ = client.read(&mut [0]).await;
    });
    port
}

async fn send(client: &mut tokio::net::TcpStream, sequence: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).expect("it is short");
    client.write_all(&[length, 0, 0, sequence]).await.expect("it is sent");
    client.write_all(payload).await.expect("it is sent");
}

async fn receive(client: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await.expect("it comes");
    let mut payload = vec![0; usize::from(head[0])];
    client.read_exact(&mut payload).await.expect("it comes");
    payload
}

#[tokio::test]
async fn mysql_8_without_tls_is_explained() {
    let port = mysql_8_without_tls().await;
    let error = refused(&settings(&format!("mysql://u:p4ss@127.0.0.1:{port}/cAuth"))).await;
    assert!(error.contains("caching_sha2_password"), "{error}");
    assert!(error.contains("?ssl-mode=REQUIRED"), "{error}");
    assert!(!error.contains("p4ss"), "{error}");
}

/// A server with a certificate of its own that takes nobody without TLS.
fn with_tls() -> Mariadb {
    Mariadb::start_with(|directory| {
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=mariadb.test", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(directory)
            .output()
            .expect("openssl runs; tests/setup.sh installs it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = |name: &str| directory.join(name).display().to_string();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let required = "--require-secure-transport=ON".to_owned();
        vec![format!("--ssl-cert={cert}"), format!("--ssl-key={key}"), required]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_and_certificates_are_checked() {
    let server = with_tls();
    let database = server.database().await;
    let ca = server.file("cert.pem");
    for right in ["", "?ssl-mode=REQUIRED", &format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")] {
        let store = open(&settings(&format!("{}{right}", database.url))).await;
        store.apps().await.expect("apps can be read");
    }
    let unknown = settings(&format!("{}?ssl-mode=VERIFY_CA", database.url));
    assert!(refused(&unknown).await.contains("certificate"), "the issuer is not known");
    let without = settings(&format!("{}?ssl-mode=DISABLED", database.url));
    let error = refused(&without).await;
    assert!(error.contains("Access denied"), "{error}");
}
