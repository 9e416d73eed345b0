//! What requests came to, in rows of a minute and of an hour.

use std::sync::Arc;

use super::{APP, OTHER_APP, app, login, sign_in};
use crate::session::Login;
use crate::store::Store;
use crate::store::stats::{Census, Count, Counted, Range, Stat, Step};

/// The start of an hour.
const HOUR: i64 = 1_795_356_000;

fn count(appid: &str, code: u32, count: u64) -> Count {
    Count::stored(appid, "auth".to_owned(), code, count)
}

async fn add(store: &dyn Store, node: &str, minute: i64, counts: &[Count]) {
    let counted = Counted { node: node.into(), minute, counts: counts.into() };
    store.add_stats(counted).await.expect("stats are written");
}

async fn read(store: &dyn Store, step: Step, from: i64, to: i64) -> Vec<(i64, Count)> {
    let stats =
        store.stats(Range { step, from, to, appid: None }, 100).await.expect("stats can be read");
    stats.into_iter().map(|Stat { start, count }| (start, count)).collect()
}

pub async fn stats_of_nodes_add_up(store: Arc<dyn Store>) {
    let store = &*store;
    add(store, "a", HOUR, &[count(OTHER_APP, 0, 1), count(APP, 0, 2), count(APP, 60012, 3)]).await;
    add(store, "b", HOUR, &[count(APP, 0, 10), count("", 1009, 1)]).await;
    add(store, "a", HOUR + 60, &[count(APP, 0, 100)]).await;
    add(store, "a", HOUR + 3600, &[count(APP, 0, 1000)]).await;
    let first = [
        (HOUR, count("", 1009, 1)),
        (HOUR, count(APP, 0, 12)),
        (HOUR, count(APP, 60012, 3)),
        (HOUR, count(OTHER_APP, 0, 1)),
    ];
    assert_eq!(read(store, Step::Minute, HOUR, HOUR + 60).await, first);
    let minutes = read(store, Step::Minute, HOUR, HOUR + 3600).await;
    assert_eq!((minutes.len(), &minutes[..4]), (5, &first[..]));
    assert_eq!(minutes[4], (HOUR + 60, count(APP, 0, 100)));
    let mut hour = first;
    hour[1].1.count = 112;
    assert_eq!(read(store, Step::Hour, HOUR, HOUR + 3600).await, hour);
    assert_eq!(read(store, Step::Hour, HOUR + 1, HOUR + 3600).await, []);
    assert_eq!(read(store, Step::Hour, HOUR, HOUR).await, []);
    let other = Range { step: Step::Hour, from: 0, to: i64::MAX, appid: Some(OTHER_APP.into()) };
    let of_other = store.stats(other.clone(), 100).await.expect("stats can be read");
    assert_eq!(of_other, [Stat { start: HOUR, count: count(OTHER_APP, 0, 1) }]);
    let first = store.stats(Range { appid: None, ..other }, 2).await.expect("they can be read");
    assert_eq!(first.len(), 2, "no more than was asked for");
}

pub async fn stats_are_added_once(store: Arc<dyn Store>) {
    for _ in 0..2 {
        add(&*store, "a", HOUR, &[count(APP, 0, 7)]).await;
    }
    for step in Step::OF_REQUESTS {
        assert_eq!(read(&*store, step, 0, i64::MAX).await, [(HOUR, count(APP, 0, 7))]);
    }
}

pub async fn stats_are_pruned_step_by_step(store: Arc<dyn Store>) {
    let store = &*store;
    for minute in [HOUR, HOUR + 60, HOUR + 3600] {
        add(store, "a", minute, &[count(APP, 0, 1)]).await;
    }
    let starts = async |step| {
        let rows = read(store, step, 0, i64::MAX).await;
        rows.iter().map(|(start, _)| *start).collect::<Vec<_>>()
    };
    store.prune_stats(Step::Minute, HOUR + 60).await.expect("stats are pruned");
    assert_eq!(starts(Step::Minute).await, [HOUR + 60, HOUR + 3600]);
    assert_eq!(starts(Step::Hour).await, [HOUR, HOUR + 3600]);
    store.prune_stats(Step::Hour, HOUR + 3600).await.expect("stats are pruned");
    assert_eq!(starts(Step::Hour).await, [HOUR + 3600]);
}

pub async fn users_are_counted_and_the_most_of_a_day_is_kept(store: Arc<dyn Store>) {
    let store = &*store;
    for appid in [APP, OTHER_APP] {
        store.put_app(&app(appid)).await.expect("the app is written");
    }
    for (open_id, now) in [("o1", 100), ("o2", 200), ("o3", 300), ("o3", 301)] {
        sign_in(store, Login { per_user: 0, ..login(open_id, now) }).await;
    }
    sign_in(store, Login { appid: OTHER_APP.into(), ..login("o1", 50) }).await;
    let of = |appid: &str, users, active| Census { appid: appid.into(), users, active };
    let counted = async |since| store.census(since).await.expect("users can be counted");
    assert_eq!(counted(200).await, [of(APP, 3, 2), of(OTHER_APP, 1, 0)], "a user counts once");
    assert_eq!(counted(0).await, [of(APP, 3, 3), of(OTHER_APP, 1, 1)]);

    // The day of a server that is eight hours ahead.
    let day = HOUR - HOUR % 86_400 + 16 * 3600;
    for census in [of(APP, 3, 2), of(APP, 2, 5), of(OTHER_APP, 1, 0)] {
        store.keep_census(day, vec![census]).await.expect("it is kept");
    }
    let kept: Vec<Count> =
        [of(APP, 3, 5), of(OTHER_APP, 1, 0)].iter().flat_map(Census::counts).collect();
    let stored = read(store, Step::Day, 0, i64::MAX).await;
    assert_eq!(stored, kept.into_iter().map(|count| (day, count)).collect::<Vec<_>>());
    assert_eq!(read(store, Step::Hour, 0, i64::MAX).await, [], "requests are counted apart");
}
