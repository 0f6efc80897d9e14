"""The suite's RabbitMQ is real, and its quorum queues outlive kill -9."""

import kombu
import pytest

from tests.services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.service

QUORUM = {"x-queue-type": "quorum"}


def test_a_message_in_a_quorum_queue_outlives_kill_9_of_the_broker(
    rabbitmq: RabbitMQ, rabbitmq_url: str
) -> None:
    queue = kombu.Queue("kept", durable=True, queue_arguments=QUORUM)
    with kombu.Connection(rabbitmq_url, transport_options={"confirm_publish": True}) as connection:
        channel = connection.channel()
        queue(channel).declare()
        producer = connection.Producer(channel, auto_declare=False)
        producer.publish("durable", routing_key="kept", delivery_mode=2)
    rabbitmq.kill9()
    rabbitmq.restart()
    with kombu.Connection(rabbitmq_url) as connection:
        bound = queue(connection.channel())
        message = bound.get(no_ack=True)
    assert message is not None
    assert message.payload == "durable"


def test_a_fresh_virtual_host_has_no_queue_of_another(rabbitmq: RabbitMQ) -> None:
    first, second = rabbitmq.fresh_url(), rabbitmq.fresh_url()
    with kombu.Connection(first) as connection:
        kombu.Queue("mine", queue_arguments=QUORUM)(connection.channel()).declare()
    with kombu.Connection(second) as connection, pytest.raises(connection.channel_errors):
        connection.channel().queue_declare("mine", passive=True)
