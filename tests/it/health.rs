//! The health checks, on the admin listener alone.

use std::thread;

use crate::support::{Gate, PATIENCE, Setup, WeChat, eventually, http};

#[test]
fn a_running_server_is_live_and_ready() {
    let server = Setup::new(WeChat::of_anybody().address).serve();
    for (path, text) in [("/health/live", "live\n"), ("/health/ready", "ready\n")] {
        let response = http::get(server.admin, path);
        assert_eq!((response.status, response.text()), (200, text));
    }
}

#[test]
fn health_is_not_on_the_public_listener_nor_the_protocol_on_the_admin_one() {
    let server = Setup::new(WeChat::of_anybody().address).serve();
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(http::get(server.address, path).status, 404);
    }
    assert_eq!(http::post(server.admin, "/mina_auth/", "{}").status, 404);
}

#[test]
fn a_stopping_server_is_live_and_not_ready() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let server = Setup::new(wechat.address).serve();
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.log_in("person"));
        wechat.wait_for_questions(1);
        server.program.signal("TERM");
        eventually(PATIENCE, "it is not ready", || {
            let response = http::get(server.admin, "/health/ready");
            (response.status == 503 && response.text() == "stopping\n").then_some(())
        });
        assert_eq!(http::get(server.admin, "/health/live").status, 200);
        gate.open();
        assert_eq!(slow.join().unwrap().code, 0);
    });
}
