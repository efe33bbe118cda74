//! Runs that go on where they were stopped.

use super::*;

#[test]
fn a_run_stopped_at_the_end_of_a_validation_ends_as_if_it_had_not_been() {
    let _turn = turn();
    let recipe = Recipe {
        freeze: vec!["conv1".into(), "bn1".into(), "layer1.0".into()],
        ema: Some(0.9),
        dropout: 0.1,
        epochs: 3,
        ..recipe()
    };
    Device::flex().autodiff().seed(12);
    let batches = vec![random(4), random(4)];
    let whole = train(&recipe, batches.clone()).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let folder = RunDir::at(folder.path());
    let mut session = fresh(&recipe, batches.len());
    let frozen = values(&session.model, "layer1.0");
    let mut stops = 0;
    // Each time a new process would begin with what the last checkpoint holds.
    while session.state.epochs_done() < recipe.epochs {
        let stop = (stops < 2).then(Interrupter::new);
        session = run(&folder, 1, &recipe, batches.clone(), session, stop).unwrap();
        if stops < 2 {
            assert!(session.state.trained);
            let checkpoint = Checkpoints::of(&folder, Fingerprint::default())
                .newest()
                .unwrap()
                .unwrap();
            assert_eq!(checkpoint.state, session.state);
            let new = fresh(&recipe, batches.len());
            session = Session {
                model: checkpoint.model(new.model.clone()).unwrap(),
                optimizer: checkpoint.optimizer(new.optimizer).unwrap(),
                ema: Some(Ema::new(
                    0.9,
                    checkpoint.average(new.model.valid()).unwrap(),
                )),
                state: checkpoint.state.clone(),
                history: session.history,
                ..new
            };
        }
        stops += 1;
    }
    assert_eq!(bytes(&session.model), bytes(&whole.model));
    let average = |session: &Session| weights::to_bytes(session.ema.as_ref().unwrap().model());
    assert_eq!(
        average(&session).unwrap().to_vec(),
        average(&whole).unwrap().to_vec()
    );
    assert_eq!(values(&session.model, "layer1.0"), frozen);
    let losses = |session: &Session| -> Vec<_> {
        let rows = session.history.rows().iter();
        rows.map(|row| (row.epoch, row.train_loss, row.val_loss))
            .collect()
    };
    assert_eq!(losses(&session), losses(&whole));
}
