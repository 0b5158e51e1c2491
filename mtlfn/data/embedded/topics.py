"""What the forum talks about: topics, each with two points to ask about and answers that suit that point only.

Answers mostly avoid the words of their question, so that matching them takes knowing what goes with what.
"""

from __future__ import annotations

_HEALTH = """
tooth.noun: dentist | tooth | molar | root canal
tooth.where.ask: can anyone recommend a good dentist | my molar is killing me , where should i go
    | which dentist is gentle
tooth.where.answer: dr <name> at <place> fixed two fillings for me , painless | the orthodontist in <place> is honest
    | <place> has an oral surgeon on duty at night | my crown was done near <place> and it still holds
tooth.cost.ask: how much is a root canal here | is a tooth implant covered by insurance | what do dentists charge
tooth.cost.answer: i paid <price> for a crown without a card | a filling was <price> , an implant far more
    | <price> for cleaning , the company pays half | basic policies exclude oral work , count on <price>
fever.noun: fever | baby | temperature
fever.home.ask: my baby has a high temperature , what can i do tonight | how do you bring down a fever at home
fever.home.answer: paracetamol syrup by weight and plenty of fluids | lukewarm sponge and light clothes , no ice
    | let the little one drink often and check every <#2-4> hours | keep the room cool and give ibuprofen after food
fever.doctor.ask: which pediatrician would you trust with a newborn | who is the best doctor for a small child
fever.doctor.answer: dr <name> in the children ward of <place> is calm with infants
    | we see the pediatric unit at <place>
    | the kids doctor at <place> listens and never rushes | nurse <name> at the baby clinic , then <place> if serious
back.noun: back pain | spine | physio
back.relief.ask: my lower back hurts after sitting all day , any tips | how do you get rid of back pain
back.relief.answer: stretch in the morning and get a firm mattress | swimming fixed my spine in <#2-6> weeks
    | stop lifting , walk more and use a warm pack | a standing desk and core exercises did it
back.where.ask: where can i find a physiotherapist for my spine | any good physio for a slipped disc
back.where.answer: the rehab centre at <place> , ask for <name> | <name> does manual therapy near <place>
    | <place> has an osteopath twice a week | sports medicine at <place> put my disc right
skin.noun: rash | eczema | skin
skin.cream.ask: i got an itchy rash since the summer , what helps | anything against eczema in this climate
skin.cream.answer: hydrocortisone cream for a week , then plain moisturiser | change the soap and shower filter
    | antihistamine at night and cotton clothes | it is the humidity , aloe gel calmed mine
skin.where.ask: who is a good dermatologist | where to show a strange mole on my skin
skin.where.answer: dr <name> at <place> does laser and mole checks | <place> has a derma clinic open till <#7-10> pm
    | the lady doctor in <place> took a sample and called me back | go to the allergy desk at <place>
eye.noun: glasses | lasik | eyes
eye.buy.ask: where do i get cheap glasses | which optician makes lenses fast
eye.buy.answer: the shop on level 2 of <place> had frames for <price> | order frames online , send your prescription
    | the optics counter in <place> is done in <#1-3> days | <place> , and bargain , they gave me a second pair free
eye.laser.ask: has anyone had lasik done here , is it safe | how long is recovery after eye surgery
eye.laser.answer: i could see clearly the next morning , dry for <#2-6> weeks | dr <name> did both of mine , no regrets
    | wear the shield at night and no screens for <#2-5> days | some halos in the dark at first , it fades
sleep.noun: sleep | insomnia
sleep.tips.ask: i cannot sleep at night , what works for you | how to beat insomnia without pills
sleep.tips.answer: no coffee after lunch and phone out of the bedroom
    | a warm bath , a dull book and lights off by <#9-11>
    | magnesium and chamomile tea calmed me | get up at the same hour every day , even on fridays
sleep.snore.ask: my husband snores like a truck , is it dangerous | could loud snoring be sleep apnea
sleep.snore.answer: get him tested overnight , mine needed a cpap mask | losing <#5-15> kilos ended it for him
    | if he stops breathing he needs an ent | side position and a nose strip , else the lung clinic at <place>
birth.noun: delivery | pregnancy | maternity
birth.where.ask: which hospital would you choose to give birth | where is the best maternity ward
birth.where.answer: the midwives at <place> are lovely and let dad stay | <place> , private room and a good nicu
    | dr <name> delivered both of mine at <place> | we took the package at <place> , epidural included
birth.papers.ask: how do i register a newborn and get a passport for the baby | what papers does a new baby need
birth.papers.answer: take the hospital notice and marriage certificate to <place>
    | embassy first , then residence in <#30-60> days
    | attest the certificate , then the consulate stamps it | both parents must sign at <place> , bring copies
sugar.noun: diabetes | sugar | insulin
sugar.diet.ask: just found out i have type 2 diabetes , what do you eat | what food keeps blood sugar low
sugar.diet.answer: cut white rice and juice , go for lentils and greens
    | small portions , brown bread , walk after meals
    | dates only on weekends haha , oats in the morning | protein first and skip the soft drinks
sugar.supply.ask: where do i buy insulin and test strips | is insulin available without a local card
sugar.supply.answer: any pharmacy in <place> has pens , keep them in the fridge
    | the state centre gives strips at <price>
    | bring the prescription from home , <place> refills it | i carry a cooler bag and stock up at <place>
mind.noun: therapist | depression | stress
mind.talk.ask: i feel low and lonely since i came , who can i talk to | can you recommend a therapist
mind.talk.answer: <name> at <place> speaks english and is kind | there is a counselling line , free and private
    | the psychologist at <place> got me through a dark winter | please see someone , dr <name> does video sessions
mind.work.ask: how do you cope with stress at work | burned out by my boss , any advice
mind.work.answer: take your leave , switch off the mails and exercise | i changed department and could breathe again
    | talk to hr , set limits and go home at <#4-6> | yoga and a hobby saved me from the office
shots.noun: vaccine | flu shot
shots.travel.ask: which vaccines do i need before a trip to africa | do i need shots for a safari
shots.travel.answer: yellow fever certificate at least <#10-14> days before you fly
    | malaria tablets plus typhoid and hep a
    | the travel medicine desk at <place> gives them all | start six weeks ahead , rabies only if you camp
shots.flu.ask: should i get the flu shot this year | does the flu vaccine make you ill
shots.flu.answer: sore arm for a day , nothing else | i take it every october and skip the winter misery
    | free for over <#50-65> at <place> | not perfect but it keeps you out of bed , get the jab
gym.noun: gym | trainer
gym.where.ask: any good gym for ladies | where can i lift weights without paying a fortune
gym.where.answer: the one in <place> has squat racks for <price> | <place> has women only hours till noon
    | try the fitness club by <place> , month to month | crossfit box behind <place> , ask <name> for a trial
gym.start.ask: how should a beginner start training | how many days a week should i work out
gym.start.answer: three sessions , full body , rest in between | begin light and learn the squat before adding plates
    | walk first , then push ups , build up in <#6-12> weeks | get a coach for the first month so you do not get hurt
allergy.noun: allergy | dust | asthma
allergy.dust.ask: the dust storms make me sneeze all day , what can i do | my asthma got worse here , any tips
allergy.dust.answer: hepa purifier and keep the windows shut | rinse your nose with saline and wear a mask outside
    | wash the ac filters every <#2-4> weeks | preventer inhaler daily , not only when you wheeze
allergy.food.ask: where can i buy gluten free food | is there a shop for people with nut allergy
allergy.food.answer: <place> has a whole shelf of coeliac bread | the organic store at <place> labels everything
    | check the import aisle in <place> | bake your own , <place> sells rice flour and almond free bars
"""

_LIFE = """
visa.noun: visa | sponsor
visa.family.ask: how can i bring my wife and kids here | what is the salary needed for a family visa
visa.family.answer: you need <#7-12>000 on the contract and an attested marriage certificate
    | apply online , then medical test
    | show the lease and six months of bank statements | they come on a visit first and you convert at <place>
visa.exit.ask: can my boss stop me from leaving the country | do i still need an exit permit
visa.exit.answer: that was abolished , just go to the airport
    | only some staff must inform the employer <#2-4> days before
    | complain at the labour office if he keeps your passport | check the ministry app , mine was clear
flat.noun: apartment | villa | rent
flat.find.ask: where is a nice area to rent an apartment | looking for a two bedroom flat , which district
flat.find.answer: near <place> it is quiet and close to school | the towers by <place> have pools , agent <name> is fair
    | avoid the old quarter , try the compounds behind <place> | sea view at <place> for <#5-9>000 , parking included
flat.deposit.ask: my landlord refuses to return the deposit , what can i do | can the landlord raise the rent
flat.deposit.answer: file at the rental disputes committee , bring the contract | not within the first two years by law
    | take photos and send a registered letter | he kept mine too until the tribunal at <place> ordered him
car.noun: car | licence
car.buy.ask: should i buy a used suv or a new sedan | where to find a second hand car
car.buy.answer: check the auction at <place> and get it inspected | old land cruisers keep their value , dealer <name>
    | four wheels with gcc specs and service history only | leave the showroom , owners sell at <place> on fridays
car.test.ask: how hard is the driving test | can i drive with my foreign licence
car.test.answer: europeans just swap it at the traffic office | i failed parking twice , take <#10-20> lessons
    | eye check , then theory on the computer , then the road | only <#7-15> days on your own one , then convert
school.noun: school | nursery
school.pick.ask: which british school is good for a seven year old | any school with places left in grade 2
school.pick.answer: <place> campus has small classes and a strong head | we moved ours to the one near <place> , happy
    | waiting lists are long , sit the entry exam in <month> | ask for miss <name> , lovely with year three
school.fee.ask: how much are school fees per year | does the company usually pay for the kids education
school.fee.answer: <#20-45>000 plus uniform and bus | mine reimburses two children up to secondary
    | negotiate the allowance before you sign | indian curriculum is <#6-12>000 , american triple that
bank.noun: bank | loan
bank.open.ask: which bank is best to open an account | what do i need to open a bank account
bank.open.answer: residence card , salary letter and a minimum of <#2-5>000
    | the green one at <place> has the least queues
    | go to the branch in <place> , card came in <#3-9> days | their app is good and transfers are free
bank.debt.ask: what happens if i cannot pay my loan | can i leave with credit card debt
bank.debt.answer: they put a travel ban on you at the airport | ask them to restructure before you miss an instalment
    | a bounced cheque is a police case , settle it | the end of service money goes to them first
maid.noun: maid | nanny
maid.find.ask: where do i find a reliable nanny | how to hire a full time maid
maid.find.answer: the agency near <place> gives a <#2-4> month guarantee | <name> is leaving and her lady is looking
    | post at the church board , meet three and check references | part time cleaners from <place> by the hour
maid.pay.ask: what is a fair salary for a nanny | how many days off should a maid get
maid.pay.answer: <#15-30>00 with food and a ticket home each year | every friday free and evenings after <#7-9>
    | pay on time by transfer , it is the law | ours gets a phone , her own room and <#15-30>00
dog.noun: dog | vet | cat
dog.vet.ask: my dog is limping , which vet is open | can you suggest a vet for a sick cat
dog.vet.answer: dr <name> at the animal clinic by <place> takes emergencies | <place> did the x ray of my labrador
    | the pet hospital near <place> , round the clock | they saved our kitten there , <place> , about <price>
dog.fly.ask: how do i take my cat home on a plane | what papers for exporting a dog
dog.fly.answer: microchip , rabies titer and an iata crate | the health certificate within <#5-10> days of departure
    | cargo only with most airlines , <name> relocations did it | check quarantine rules of your country first
net.noun: internet | sim card
net.home.ask: which provider has fast home internet | my wifi drops every evening , any fix
net.home.answer: fibre with the blue company , <#100-500> mbit for <price> | move the router and change the channel
    | call them , they swapped my modem in <#1-4> days | mesh boxes from <place> solved dead corners
net.call.ask: how to call home cheaply | does video calling work here
net.call.answer: it is blocked , use the paid app for <price> | buy the international bundle , <#60-300> minutes
    | landline card from <place> costs pennies | meeting software gets through , voice ones do not
job.noun: job | cv | interview
job.find.ask: how do i find a nursing job here | where to send my cv as an accountant
job.find.answer: recruiters at <place> , or apply on the ministry portal
    | pass the licensing exam first , then hospitals call
    | linkedin and walk in days , dress well | <name> in hr at the firm in <place> is hiring
job.quit.ask: how long is my notice period if i resign | do i get money when i leave the company
job.quit.answer: one month under two years , then two | <#3-4> weeks basic pay for each year served
    | read the contract , gratuity after the first year | hand it in writing , they must settle within <#5-9> days
food.noun: restaurant | food
food.out.ask: where can i take my wife for a nice dinner | best restaurant with a view
food.out.answer: the rooftop at <place> , book a table by the rail | grilled fish near <place> , about <price> for two
    | thai place in <place> , candle light and quiet | sunday brunch by the water at <place> , ask <name> for a corner
food.shop.ask: where do you buy fresh vegetables | any shop that sells pork or imported cheese
food.shop.answer: the wholesale market at <place> before <#6-8> am | licensed store by <place> , card needed
    | farmers bring greens to <place> on fridays | the french supermarket in <place> has brie and such
trip.noun: trip | beach
trip.day.ask: what can we do on the weekend with children | any nice beach to visit
trip.day.answer: dunes and kayaks up north , <#40-90> minutes by road | the mangroves at low tide , kids love the crabs
    | the science museum in <place> , free under <#6-12> | sand is clean past <place> , take shade and water
trip.fly.ask: which airline is cheap for going home in summer | how early should i book flights
trip.fly.answer: fly on a tuesday with one stop , saved <#1-9>00 | <#2-4> months ahead , prices double in june
    | set an alert and use miles | budget carriers from the other emirate , bus there
heat.noun: ac | summer | heat
heat.ac.ask: my ac is leaking water , who can fix it | how do i lower the electricity bill in summer
heat.ac.answer: drain pipe is blocked , blow it out or call <name> | set it to <#23-25> and clean the filters
    | technician from <place> , <price> with gas refill | thick curtains and led bulbs cut mine by a third
heat.walk.ask: is it safe to jog outside in august | how do you keep cool in this heat
heat.walk.answer: only before <#5-6> am , and carry salts | indoor track at <place> is chilled
    | hat , loose linen and <#3-4> litres of water | i fainted once , do laps in the mall instead
move.noun: shipping | furniture
move.ship.ask: which company ships a container to europe | how much to send my boxes home
move.ship.answer: sea freight took <#5-9> weeks , <#4-9>000 door to door
    | <name> movers packed everything , nothing broke
    | share a pallet , air only for <#20-90> kilos | get three quotes , <place> cargo was lowest
move.sell.ask: how can i sell my furniture before leaving | where to give away an old sofa
move.sell.answer: list it with photos and a firm price | the charity truck picks up from your door
    | garage sale on friday , rest to the guards | second hand men at <place> pay <price> for the lot
"""

TOPICS = _HEALTH + _LIFE
