//! Alarms by a POST.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::support::http::Head;
use crate::support::{APP, PATIENCE, Setup, Simulator, refusing_address};

/// What a robot's URL has in it.
const KEY: &str = "k3y-of-a-robot";

/// Listens for alarms, and hands out what came; who sends the first must send it again.
fn receiver() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/send?key={KEY}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut reader = BufReader::new(stream.unwrap());
            let head = Head::read(&mut reader).unwrap().unwrap();
            assert_eq!(head.first, format!("POST /send?key={KEY} HTTP/1.1"));
            let length = head.header("content-length").unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if number == 0 { "502 Bad Gateway" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            if number > 0 && tell.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, told)
}

#[test]
fn logins_that_fail_are_told_and_so_is_the_end_of_it() {
    let (url, told) = receiver();
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address).with(&format!("alarm.url = \"{url}\""));
    let server = setup.serve();
    simulator.faults(&json!({ "errcode": 45011 }));
    for number in 0..20 {
        assert_eq!(server.log_in(&simulator.code(&format!("person-{number}"))).code, 1007);
    }
    let begun = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&begun["alarm"], &begun["state"]), (&json!("logins-fail"), &json!("begun")));
    assert_eq!(begun["app"], APP);
    assert!(begun["text"].as_str().unwrap().contains("mina-auth stats"), "{begun}");
    simulator.faults(&json!({}));
    for number in 0..400 {
        server.session(&simulator.code(&format!("person-{number}")));
    }
    let over = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&over["alarm"], &over["state"]), (&json!("logins-fail"), &json!("over")));
    let log = server.stop().stderr;
    assert!(log.contains("it is tried again") && !log.contains(KEY), "{log}");
    let shown = setup.run(&["config", "show"]).succeeded().stdout;
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn a_receiver_that_cannot_be_one_is_refused_at_start() {
    for (setting, part) in [
        ("alarm.url = \"robot.example\"", "`alarm.url`: expected a URL"),
        ("alarm.below = 0", "`alarm.below`: expected percent"),
        ("alarm.format = \"slack\"", "wecom"),
    ] {
        let refused = Setup::new(refusing_address()).with(setting).run(&["serve"]);
        let line = refused.failed_in_one_line();
        assert!(line.contains(part), "{line}");
    }
}
